// GraphQL: queries, and subscriptions over WebSocket and as event streams.
import { EventSource } from "eventsource";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

import { served } from "../lib/each.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const QUERY = "subscription { count(to: 5) }";
const app = { folder, command: ["node", "server.mjs"] };

async function overWebSocket(stage) {
  const client = createClient({ url: `ws://${stage.address}/graphql`, webSocketImpl: WebSocket, retryAttempts: 0 });
  const seen = [];
  for await (const { data } of client.iterate({ query: QUERY })) seen.push(data.count);
  await client.dispose();
  return seen.join() === "1,2,3,4,5";
}

function asEvents(stage) {
  const source = new EventSource(`${stage.url}/graphql?query=${encodeURIComponent(QUERY)}`);
  const seen = [];
  return new Promise((told) => {
    source.addEventListener("next", ({ data }) => seen.push(JSON.parse(data).data.count));
    source.addEventListener("complete", () => { source.close(); told(seen.join() === "1,2,3,4,5"); });
  });
}

async function query(stage) {
  const body = JSON.stringify({ query: "{ hello }" });
  const answer = await fetch(`${stage.url}/graphql`, { method: "POST", headers: { "content-type": "application/json" }, body });
  return (await answer.json()).data.hello === "world";
}

export default [
  {
    name: "graphql-ws", sticky: "auto", does: "20 subscriptions of five events over WebSocket",
    versions: () => versions(folder, ["graphql-ws", "graphql"]),
    proof: () => served(app, undefined, 20, [["subscriptions", overWebSocket]]),
  },
  {
    name: "graphql-yoga", sticky: "auto", does: "20 queries, and 20 subscriptions of five events by EventSource",
    versions: () => versions(folder, ["graphql-yoga", "eventsource"]),
    proof: () => served(app, undefined, 20, [["queries", query], ["event streams", asEvents]]),
  },
];
