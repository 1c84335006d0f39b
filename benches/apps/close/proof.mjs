// What ten client libraries report when their WebSocket ends, by the way it ends.
import { request } from "node:http";

import { inMarkdown } from "../lib/page.mjs";
import { Process } from "../lib/process.mjs";
import { onTwoNodes } from "../lib/stage.mjs";
import { pyVersions, versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const NPM = ["ws", "faye-websocket", "websocket", "undici", "socket.io-client", "graphql-ws"];
const PYPI = ["websockets", "websocket-client", "aiohttp", "httpx-ws"];
const WAYS = [
  ["its node dies", (stage) => Promise.all(stage.nodes.map((node) => node.kill()))],
  ["its node ends the TCP connection without a Close", (stage) => Promise.all(stage.nodes.map((node) => cut(node.port)))],
  ["its node is drained", (stage) => Promise.all(stage.nodes.map((node) => stage.verb("drain", node.address)))],
];

export async function closeCodes() {
  const columns = [];
  for (const [way, act] of WAYS) {
    const seen = await onTwoNodes({ folder, command: ["node", "server.mjs"] }, { drain: ['window = "1s"'] }, async (stage) => {
      const clients = [...NPM.map((name) => ["node", "client.mjs", name]), ...PYPI.map((name) => [`${folder}/venv/bin/python`, "client.py", name])]
        .map((command) => new Process([...command, stage.address], { cwd: folder }));
      await Promise.all(clients.map((client) => client.says(/^open/)));
      await act(stage);
      return Promise.all(clients.map((client) => client.says(/^end (.*)/).then(([, end]) => end.trim(), () => "nothing within a minute")));
    });
    console.error(`apps: when ${way}: ${seen.join(" · ")}`);
    columns.push(seen);
  }
  const names = [...NPM, ...PYPI];
  const installed = [...(await Promise.all(NPM.map((name) => versions(folder, [name])))), ...(await Promise.all(PYPI.map((name) => pyVersions(folder, [name]))))];
  const lines = names.map((_, row) => [installed[row], row < NPM.length ? "npm" : "PyPI", ...columns.map((column) => column[row])]);
  return { table: inMarkdown(["library", "from", ...WAYS.map(([way]) => way)], lines) };
}

function cut(port) {
  return new Promise((done) => request({ port, path: "/cut", method: "POST", host: "127.0.0.1" }, done).on("error", done).end());
}
