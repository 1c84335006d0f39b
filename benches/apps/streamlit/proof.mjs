// Streamlit: a page's state lives beside its socket, and files and images come by plain requests.
import { visitors } from "../lib/browser.mjs";
import { onTwoNodes } from "../lib/stage.mjs";
import { pyVersions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const VISITORS = 8;
const command = [`${folder}/venv/bin/streamlit`, "run", "app.py", "--server.port", "{port}", "--server.address", "127.0.0.1",
  "--server.headless", "true", "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"];

export default [{
  name: "Streamlit",
  sticky: "cookie",
  does: `${VISITORS} visitors in Chromium type, count, see an image and send a file`,
  versions: () => pyVersions(folder, ["streamlit"]),
  proof: () => onTwoNodes({ folder, command }, { sticky: "cookie" }, async (stage) => {
    const seen = await visitors(VISITORS, async (page, number) => {
      await page.goto(stage.url);
      await page.locator("input[type=text]").fill(`ada-${number}`);
      await page.locator("input[type=text]").press("Enter");
      for (let time = 1; time <= 2; time += 1) {
        await page.getByRole("button", { name: "count" }).click();
        await page.getByText(`ada-${number} counted to ${time}`).waitFor();
      }
      await page.locator("input[type=file]").setInputFiles({ name: "a.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(3000 + number) });
      await page.getByText(`ada-${number} sent ${3000 + number} bytes`).waitFor();
      await page.waitForFunction(() => [...document.images].some((image) => image.naturalWidth > 0));
      return { held: true };
    });
    const held = seen.filter((each) => each.held).length;
    return { good: held === VISITORS, seen: `${held} of ${VISITORS} visitors`, detail: seen.map((each) => each.failed).filter(Boolean) };
  }),
}];
