// One tab of a real browser on the chat page, which stays there until it is told to leave.
//
//   node tab.mjs '{"url":"https://localhost:8443/"}'
//
// url          where the chat page is
// insecure     accept any certificate (false)
// chromium     path of the browser (/usr/bin/chromium)
//
// Reads a line for each thing to do, and prints a line of JSON once it is done:
//
// moved NAME   waits until the tab is on another node than NAME: {"node":…,"transport":…}
// say TEXT     sends a message and waits until it is shown: {"node":…,"transport":…}
// leave        {"errors":[…],"protocols":[…]}: all errors on the page or on its console, and what its requests went over
//
// The first line is that of a tab that is on a WebSocket: {"node":…,"transport":…}
import { createInterface } from "node:readline";
import { launch } from "./browser.mjs";

const PATIENCE_MS = 60_000;
const plan = { insecure: false, ...JSON.parse(process.argv[2] ?? "{}") };

const browser = await launch(plan.chromium);
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: plan.insecure });
  context.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  const tab = await context.newPage();
  tab.on("pageerror", (error) => errors.push(String(error)));
  tab.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await tab.goto(plan.url);
  await tab.getByLabel("Your name").fill("Ada");
  await tab.getByLabel("Room").fill("test");
  await tab.getByRole("button", { name: "Join the room" }).click();
  await print(tab);
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, what] = [line.split(" ", 1)[0], line.slice(line.indexOf(" ") + 1)];
    if (verb === "leave") {
      const protocols = await tab.evaluate(() => performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol));
      console.log(JSON.stringify({ errors, protocols: [...new Set(protocols)] }));
      break;
    }
    if (verb === "moved") {
      await tab.waitForFunction((name) => !["", "–", name].includes(document.getElementById("node").textContent), what);
    }
    if (verb === "say") {
      await tab.getByLabel("Message", { exact: true }).fill(what);
      await tab.getByRole("button", { name: "Send" }).click();
      await tab.locator("#messages .text", { hasText: what }).waitFor();
    }
    await print(tab);
  }
} finally {
  await browser.close();
}

/** Waits until it is on a WebSocket, and prints where. */
async function print(tab) {
  await tab.locator("#transport", { hasText: /websocket$/ }).waitFor();
  await tab.locator("#status[data-state=connected]").waitFor();
  const node = await tab.locator("#node").textContent();
  const transport = await tab.locator("#transport").textContent();
  console.log(JSON.stringify({ node, transport }));
}
