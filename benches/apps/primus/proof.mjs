// Primus' own client for Node.js, on Engine.IO.
import Primus from "primus";

import { served } from "../lib/each.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const Socket = Primus.createSocket({ transformer: "engine.io" });

const over = (transports) => (stage, number) => new Promise((told) => {
  const spark = new Socket(stage.url, { transport: { transports }, strategy: false });
  spark.on("open", () => spark.write(`hello ${number}`));
  spark.on("data", (text) => { spark.end(); told(text === `hello ${number}`); });
  spark.on("error", () => told(false));
});

export default [{
  name: "Primus on Engine.IO", sticky: "auto", does: "20 clients by polling and 20 that upgrade, an echo each",
  versions: () => versions(folder, ["primus", "engine.io", "engine.io-client"]),
  proof: () => served({ folder, command: ["node", "server.mjs"] }, undefined, 20, [["polling", over(["polling"])], ["upgraded", over(["polling", "websocket"])]]),
}];
