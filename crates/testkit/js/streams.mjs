// Readers of streams: EventSources, as browsers have them, and two readers with fetch, as pages of language models do it,
// one of a body in chunks and one of a body that ends with its connection.
//
//   node streams.mjs http://127.0.0.1:3000 20 '["/ticks"]' node        the npm package `eventsource`
//   node streams.mjs http://127.0.0.1:3000 4 '["/ticks"]' chromium     a page of headless Chromium at /, and its own
//
// stdout carries one JSON object a line: {"event":"open","client":n,"node":…} whenever an EventSource has its first event
// from a node, "token" with the first token of each fetch, "tokens" with how it ended: "whole", "failed", or "short" if it
// ended well and is not whole. stdin takes `report`: how many events were broken or doubled, and who is on which node.
import { createInterface } from "node:readline";
import { EventSource } from "eventsource";
import { launch } from "./browser.mjs";
import { startReaders } from "./readers.mjs";

const [url, count, paths = '["/ticks"]', where = "node"] = process.argv.slice(2);
const plan = { url, count: Number(count), paths: JSON.parse(paths) };
let broken = 0;
const on = new Map();

function say(event, fields) {
  if (event === "broken") broken += 1;
  if (event === "open") on.set(fields.client, fields.node);
  console.log(JSON.stringify({ event, ...fields }));
}

const tally = () => {
  const counts = {};
  for (const node of on.values()) counts[node] = (counts[node] ?? 0) + 1;
  return counts;
};
createInterface({ input: process.stdin })
  .on("line", () => say("report", { broken, on: tally() }))
  .on("close", () => process.exit(0));

if (where === "node") {
  startReaders({ ...plan, say, EventSource });
} else {
  const browser = await launch();
  const page = await browser.newPage();
  page.on("pageerror", (error) => say("broken", { error: String(error) }));
  await page.exposeFunction("say", say);
  await page.goto(url);
  await page.evaluate(`(${startReaders})({ ...${JSON.stringify(plan)}, say: window.say, EventSource: window.EventSource })`);
}
