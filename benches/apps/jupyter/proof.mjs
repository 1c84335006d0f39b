// Jupyter's server: a kernel is the process of the node that started it; its channels are a WebSocket.
import WebSocket from "ws";

import { served } from "../lib/each.mjs";
import { Jar } from "../lib/jar.mjs";
import { pyVersions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const command = [`${folder}/venv/bin/jupyter`, "server", "--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--allow-root",
  "--no-browser", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--ServerApp.allow_origin=*"];

async function computes(stage, number) {
  const jar = new Jar(stage.url);
  const kernel = await jar.json("POST", "/api/kernels", "{}", { "Content-Type": "application/json" });
  const socket = new WebSocket(`ws://${stage.address}/api/kernels/${kernel.id}/channels`, { headers: { Cookie: jar.header } });
  await new Promise((open, failed) => socket.on("open", open).on("error", failed));
  const header = { msg_id: `m${number}`, msg_type: "execute_request", username: "", session: "s", version: "5.3" };
  const content = { code: `6 * 7 + ${number}`, silent: false, store_history: true, user_expressions: {}, allow_stdin: false };
  const result = new Promise((told) => socket.on("message", (text) => {
    const message = JSON.parse(text);
    if (message.msg_type === "execute_result") told(message.content.data["text/plain"]);
  }));
  socket.send(JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel: "shell", buffers: [] }));
  const text = await result;
  socket.close();
  const { status } = await jar.ask("DELETE", `/api/kernels/${kernel.id}`);
  return text === String(42 + number) && status === 204;
}

export default [{
  name: "Jupyter Server", sticky: "cookie", does: "4 clients start a kernel each, compute through its WebSocket and end it",
  versions: () => pyVersions(folder, ["jupyter_server", "ipykernel"]),
  proof: () => served({ folder, command }, "cookie", 4, [["kernels", computes]]),
}];
