// MQTT over WebSocket: a client subscribes and hears what it publishes with QoS 1.
import mqtt from "mqtt";

import { served } from "../lib/each.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;

async function hears(stage, number) {
  const client = await mqtt.connectAsync(`ws://${stage.address}`, { clientId: `client-${number}`, reconnectPeriod: 0 });
  const heard = new Promise((told) => client.on("message", (_, text) => told(String(text))));
  await client.subscribeAsync(`to/${number}`, { qos: 1 });
  await client.publishAsync(`to/${number}`, "hello", { qos: 1 });
  const text = await heard;
  await client.endAsync();
  return text === "hello";
}

export default [{
  name: "MQTT over WebSocket (aedes)", sticky: "auto", does: "20 clients subscribe, publish with QoS 1 and hear it",
  versions: () => versions(folder, ["aedes", "mqtt"]),
  proof: () => served({ folder, command: ["node", "server.mjs"] }, undefined, 20, [["clients", hears]]),
}];
