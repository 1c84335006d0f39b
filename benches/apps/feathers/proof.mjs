// Feathers' own client over Socket.IO: a service's call and its event.
import { feathers } from "@feathersjs/feathers";
import socketio from "@feathersjs/socketio-client";
import { io } from "socket.io-client";

import { served } from "../lib/each.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;

const over = (transport) => async (stage, number) => {
  const socket = io(stage.url, { transports: [transport], forceNew: true });
  const things = feathers().configure(socketio(socket)).service("things");
  const name = `${transport} ${number}`;
  await new Promise((connected) => socket.once("connect", connected));
  const created = new Promise((told) => things.on("created", (thing) => thing.name === name && told(thing)));
  await things.create({ name });
  await created;
  const found = await things.find();
  socket.close();
  return found.some((thing) => thing.name === name);
};

export default [{
  name: "Feathers", sticky: "auto", does: "20 clients on each transport create, hear of it and find it",
  versions: () => versions(folder, ["@feathersjs/feathers", "@feathersjs/socketio"]),
  proof: () => served({ folder, command: ["node", "server.mjs"] }, undefined, 20, [["polling", over("polling")], ["websocket", over("websocket")]]),
}];
