// Two tabs of a real browser in one room of the chat page.
//
//   node page.mjs '{"url":"http://127.0.0.1:8080/"}'
//
// url          where the chat page is
// room         the room to meet in ("test")
// text         what the first tab says ("hello from the first tab")
// screenshot   path of a PNG of the second tab, taken last
// width height dark   what that tab looks like (1280, 800, false)
// chromium     path of the browser (/usr/bin/chromium)
// insecure     accept any certificate (false)
//
// Prints one JSON object: {"tabs":[{"texts":[…],"message_nodes":[…],"node":…,"transport":…,"transports":[…],
// "members":[…]},{…}],"errors":[…],"violations":[…]}, once both tabs show the message, each other's name and a WebSocket. `transports` is
// all that the tab has shown of its transport, one after another; `violations` is what axe-core says of the first tab.
import { violations } from "./axe.mjs";
import { launch } from "./browser.mjs";

const PATIENCE_MS = 30_000;
const defaults = {
  room: "test", text: "hello from the first tab", width: 1280, height: 800, dark: false,
  insecure: false,
};
const plan = { ...defaults, ...JSON.parse(process.argv[2] ?? "{}") };

const browser = await launch(plan.chromium);
try {
  const context = await browser.newContext({
    viewport: { width: plan.width, height: plan.height },
    colorScheme: plan.dark ? "dark" : "light",
    ignoreHTTPSErrors: plan.insecure,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(keepTransports);
  const errors = [];
  const first = await open(context, "Ada", errors);
  const second = await open(context, "Grace", errors);
  await first.getByLabel("Message", { exact: true }).fill(plan.text);
  await first.getByRole("button", { name: "Send" }).click();
  for (const tab of [first, second]) await tab.locator("#messages .text", { hasText: plan.text }).waitFor();
  const tabs = [await look(first), await look(second)];
  if (plan.screenshot) await second.screenshot({ path: plan.screenshot });
  console.log(JSON.stringify({ tabs, errors, violations: await violations(first) }));
} finally {
  await browser.close();
}

/** Opens a tab, joins the room by hand and waits until it is on WebSocket. */
async function open(context, name, errors) {
  const tab = await context.newPage();
  tab.on("pageerror", (error) => errors.push(String(error)));
  tab.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await tab.goto(plan.url);
  await tab.getByLabel("Your name").fill(name);
  await tab.getByLabel("Room").fill(plan.room);
  await tab.getByRole("button", { name: "Join the room" }).click();
  await tab.locator("#members li", { hasText: name }).waitFor({ state: "attached" });
  await tab.locator("#transport", { hasText: /websocket$/ }).waitFor();
  await tab.locator("#status[data-state=connected]").waitFor();
  return tab;
}

/** Runs in the page, before its own scripts: what it shows of its transport is gone as soon as it is upgraded. */
function keepTransports() {
  window.transportsShown = [];
  new MutationObserver(() => {
    const shown = document.getElementById("transport")?.textContent;
    if (shown && shown !== window.transportsShown.at(-1)) window.transportsShown.push(shown);
  }).observe(document, { childList: true, subtree: true, characterData: true });
}

async function look(tab) {
  return {
    texts: await tab.locator("#messages .text").allTextContents(),
    message_nodes: await tab.locator("#messages .node").allTextContents(),
    node: await tab.locator("#node").textContent(),
    transport: await tab.locator("#transport").textContent(),
    transports: await tab.evaluate(() => window.transportsShown),
    members: await tab.locator("#members li").evaluateAll((items) => items.map((item) => item.lastChild.textContent)),
  };
}
