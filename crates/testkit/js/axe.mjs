// What axe-core sees broken of a page, in light and dark, on a desk and on a phone.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"];

/** A line for each rule, with the first elements that break it. The tab is left dark and narrow. */
export async function violations(tab) {
  const violations = [];
  for (const [colorScheme, width] of [["light", 1280], ["dark", 1280], ["light", 390], ["dark", 390]]) {
    await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await tab.setViewportSize({ width, height: 844 });
    if (!(await tab.evaluate(() => "axe" in window))) await tab.evaluate(readFileSync(axe, "utf8"));
    const seen = await tab.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
    for (const { id, help, nodes } of seen.violations) {
      violations.push(`${colorScheme}, ${width} wide: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
    }
  }
  return violations;
}
