// A single-page app in a real browser: deep links, its own API and its sockets, all of one origin.
//
//   node spa.mjs '{"url":"https://127.0.0.1:8443","tabs":3}'
//
// url        the origin
// path       the deep link that each tab opens ("/rooms/7")
// tabs       how many of them (3)
// chromium   path of the browser (/usr/bin/chromium)
//
// The page has to show its address in #path, what /api/headers says of the URL that the node saw in #api, and its node
// and transport in #node and #transport. Prints one JSON object once every tab is on WebSocket:
// {"tabs":[{"path":…,"api":…,"node":…,"moved":…,"reloaded":…,"back":…},…],"missing":404,"errors":[…]}: what the tab
// shows at its deep link, after a move by the app itself, after a reload there, and back; and how a missing script is
// answered.
import { launch } from "./browser.mjs";

const defaults = { path: "/rooms/7", tabs: 3 };
const plan = { ...defaults, ...JSON.parse(process.argv[2] ?? "{}") };
const browser = await launch(plan.chromium);
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  context.setDefaultTimeout(30_000);
  const errors = [];
  const tabs = [];
  const open = [];
  for (let number = 0; number < plan.tabs; number += 1) {
    const tab = await context.newPage();
    open.push(tab);
    tab.on("pageerror", (error) => errors.push(String(error)));
    tab.on("response", (response) => response.status() >= 400 && errors.push(`${response.status()} ${response.url()}`));
    await tab.goto(plan.url + plan.path);
    const shown = { path: await settled(tab), api: await tab.textContent("#api"), node: await tab.textContent("#node") };
    // The app moves without the server, and a reload asks the server for where it is then.
    await tab.evaluate(() => window.move("/rooms/8"));
    shown.moved = await tab.textContent("#path");
    await tab.reload();
    shown.reloaded = await settled(tab);
    await tab.goBack();
    await tab.locator("#path", { hasText: plan.path }).waitFor();
    shown.back = await settled(tab);
    tabs.push(shown);
  }
  const missing = await context.request.get(`${plan.url}/assets/missing.js`);
  console.log(JSON.stringify({ tabs, missing: missing.status(), errors }));
} finally {
  await browser.close();
}

/** The address that a tab shows once it is on WebSocket. */
async function settled(tab) {
  await tab.locator("#transport", { hasText: "websocket" }).waitFor();
  return tab.textContent("#path");
}
