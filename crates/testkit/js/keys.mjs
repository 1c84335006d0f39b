// Uses the demo's page with the keyboard alone, and looks at it as a screen reader does, in a real browser.
//
//   node keys.mjs '{"url":"http://127.0.0.1:8080"}'
//
// Drains and takes back chat/0 and rolls chat/1 by Tab, Enter and Space. Prints one JSON object; its fields are those of
// `testkit::page::Used`.
import { violations } from "./axe.mjs";
import { launch } from "./browser.mjs";

const PATIENCE_MS = 30_000;
const SESSIONS = 9;
/** More stops of the Tab key than the page has. */
const STOPS_MAX = 60;
const plan = { ...JSON.parse(process.argv[2]) };
const browser = await launch(plan.chromium);
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(PATIENCE_MS);
  const tab = await context.newPage();
  await tab.goto(plan.url);
  await tab.waitForFunction((count) => document.querySelectorAll('.guest[data-state="here"]').length === count, SESSIONS);
  const card = (name, state) => tab.locator(`.node[data-state="${state}"]`, { has: tab.getByRole("heading", { name }) });
  /** What has the focus, as a screen reader says it, and whether it can be seen that it has it. */
  const focused = () => tab.evaluate(() => {
    const at = document.activeElement;
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(at);
    const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent.trim();
    return { name, isShown: (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none" };
  });
  const stops = [];
  const until = async (name) => {
    for (let stop = 0; stop < STOPS_MAX; stop += 1) {
      await tab.keyboard.press("Tab");
      const at = await focused();
      stops.push(at);
      if (at.name === name) return;
    }
    throw new Error(`Tab never comes to "${name}", but to ${stops.map((stop) => stop.name).join(", ")}`);
  };

  // The first stop leads past the clients.
  await tab.keyboard.press("Tab");
  const first = (await focused()).name;
  await tab.keyboard.press("Enter");
  await until("Drain chat/0");
  await tab.keyboard.press("Enter");
  await card("chat/0", "drained").waitFor();
  // Whoever has pressed it is where they were, and can take it back at once.
  const afterDrain = (await focused()).name;
  await tab.keyboard.press("Enter");
  await card("chat/0", "ready").waitFor();
  const afterUndrain = (await focused()).name;
  await until("Roll chat/1");
  await tab.keyboard.press("Space");
  await card("chat/1", "rolling").waitFor();
  const whileRolling = (await focused()).name;
  await card("chat/1", "ready").waitFor();
  const afterRoll = (await focused()).name;
  await until("Message");
  await tab.keyboard.type("by hand");
  await tab.keyboard.press("Enter");
  await tab.locator("#messages .mine", { hasText: "by hand" }).waitFor();

  const tree = await tab.locator("body").ariaSnapshot();
  const unseen = stops.filter((stop) => !stop.isShown).map((stop) => stop.name);
  console.log(JSON.stringify({ first, after: [afterDrain, afterUndrain, whileRolling, afterRoll], unseen, tree, violations: await violations(tab) }));
} finally {
  await browser.close();
}
