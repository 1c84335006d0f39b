// Readers of streams: EventSources, as browsers have them, and two readers with fetch, as pages of language models do it,
// one of a body in chunks and one of a body that ends with its connection.
//
//   node streams.mjs http://127.0.0.1:3000 20
//
// stdout carries one JSON object a line: {"event":"open","client":n,"node":…} whenever an EventSource has its first event
// from a node, "token" with the first token of each fetch, "tokens" with how it ended: "whole", "failed", or "short" if it
// ended well and is not whole. stdin takes `report`: how many events were broken or doubled, and who is on which node.
import { createInterface } from "node:readline";
import { EventSource } from "eventsource";

const [url, count] = process.argv.slice(2);
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
let broken = 0;
const on = new Map();

for (let client = 0; client < Number(count); client += 1) {
  const source = new EventSource(`${url}/ticks`);
  let last = null;
  source.addEventListener("error", () => {
    last = null;
  });
  source.addEventListener("message", ({ data }) => {
    let tick;
    try {
      tick = JSON.parse(data);
    } catch {
      broken += 1;
      return;
    }
    if (tick.text.length !== tick.length || (last !== null && tick.number !== last + 1)) broken += 1;
    if (last === null) {
      on.set(client, tick.node);
      say("open", { client, node: tick.node });
    }
    last = tick.number;
  });
}

for (const framing of ["chunked", "close"]) tokens(framing);

/** Reads a stream of tokens as a page does: whatever comes without an error is the answer. */
async function tokens(framing) {
  let text = "";
  let outcome;
  try {
    const response = await fetch(`${url}/tokens?framing=${framing}`, { headers: { accept: "text/event-stream" } });
    let first = true;
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (first) say("token", { framing });
      first = false;
    }
    outcome = text.endsWith("data: [DONE]\n\n") ? "whole" : "short";
  } catch {
    outcome = "failed";
  }
  say("tokens", { framing, outcome, length: text.length });
}

const tally = () => {
  const counts = {};
  for (const node of on.values()) counts[node] = (counts[node] ?? 0) + 1;
  return counts;
};
createInterface({ input: process.stdin })
  .on("line", () => say("report", { broken, on: tally() }))
  .on("close", () => process.exit(0));
