// Yjs: two who edit one document have to meet on one node; the room is the path's first segment.
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

import { served } from "../lib/each.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;

async function meet(stage, number) {
  const [one, other] = [new Y.Doc(), new Y.Doc()];
  const options = { WebSocketPolyfill: WebSocket, disableBc: true };
  const providers = [one, other].map((doc) => new WebsocketProvider(`ws://${stage.address}`, `room-${number}`, doc, options));
  await Promise.all(providers.map((provider) => new Promise((synced) => provider.once("sync", synced))));
  const seen = new Promise((told) => other.getText("t").observe(() => told(other.getText("t").toString())));
  one.getText("t").insert(0, `hello ${number}`);
  const text = await seen;
  providers.forEach((provider) => provider.destroy());
  return text === `hello ${number}`;
}

export default [{
  name: "Yjs", sticky: "path:1", does: "two editors meet in each of 20 rooms",
  versions: () => versions(folder, ["yjs", "y-websocket"]),
  proof: () => served({ folder, command: ["node", "server.mjs"] }, "path:1", 20, [["rooms", meet]]),
}];
