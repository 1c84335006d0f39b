// Headless Chromium, as Debian has it.
import { chromium } from "playwright-core";

const PATIENCE_MS = 30_000;

/** Each of `count` visitors has cookies of their own; gives `visit` a fresh page. Returns what each `visit` returned. */
export async function visitors(count, visit) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
  try {
    const seen = [];
    for (let number = 0; number < count; number += 1) {
      const context = await browser.newContext();
      context.setDefaultTimeout(PATIENCE_MS);
      const page = await context.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      seen.push(await visit(page, number, errors).catch((error) => ({ failed: `${error.message.split("\n")[0]} ${errors[0] ?? ""}` })));
      await context.close();
    }
    return seen;
  } finally {
    await browser.close();
  }
}
