// The browser that all scripts beside this one use.
import { chromium } from "playwright-core";

/** Starts Debian's Chromium, or the one at `executablePath`. It asks for nothing but what a page asks for. */
export function launch(executablePath = "/usr/bin/chromium") {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}
