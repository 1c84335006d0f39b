// Gradio: a click joins a queue with one request, and its answer comes as an event stream of another.
import { visitors } from "../lib/browser.mjs";
import { onTwoNodes } from "../lib/stage.mjs";
import { pyVersions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const VISITORS = 8;
const app = { folder, command: [`${folder}/venv/bin/python`, "app.py"], env: { GRADIO_ANALYTICS_ENABLED: "False" } };

export default [{
  name: "Gradio",
  sticky: "cookie",
  does: `${VISITORS} visitors in Chromium count to three`,
  versions: () => pyVersions(folder, ["gradio"]),
  proof: () => onTwoNodes(app, { sticky: "cookie" }, async (stage) => {
    const seen = await visitors(VISITORS, async (page) => {
      await page.goto(stage.url);
      for (let time = 1; time <= 3; time += 1) {
        await page.getByRole("button", { name: "count up" }).click();
        await page.waitForFunction((wanted) => document.querySelector("textarea, input[type=text]")?.value === wanted, String(time));
      }
      return { held: true };
    });
    const held = seen.filter((each) => each.held).length;
    return { good: held === VISITORS, seen: `${held} of ${VISITORS} visitors`, detail: seen.map((each) => each.failed).filter(Boolean) };
  }),
}];
