// Real socket.io-clients, many at once, steered by a test line by line.
//
//   node clients.mjs '{"urls":["http://127.0.0.1:3000"],"count":3,"version":4,"mode":"polling","echoes":1}'
//
// urls            one per client in turn
// alternate       instead of urls: every HTTP request of one session goes to the next of these (version 4 only)
// count           how many clients (1)
// version         4 or 2: the major of socket.io-client (4)
// mode            "default" (polling, then an upgrade), "polling" or "websocket"
// echoes          rounds of echoes for each client, once its transport has settled (0)
// text_bytes      the length of the text of an echo (32; 0 sends none)
// binary_bytes    the length of its bytes (32; 0 sends none)
// hold            stay connected until told to end (false)
// keep_alive      reuse connections between polls, as browsers do; the client in Node.js opens one each (false)
// http2           all over HTTP/2, WebSockets too (version 4 only; false)
// ca              path of a PEM file to trust, for https
// connect_ms      give up on a client that is not connected by then (20000)
// options         anything else for io(), as it is
//
// stdout carries one JSON object a line: {"event":"connect"|"connect_error"|"disconnect","client":n,…} as they happen,
// "ready" once every client is connected, settled and has its echoes (or has failed), and "result" at the end.
// stdin takes `who` and `report` (each answered by an event of that name), `leave NODE` (the clients on that node close
// politely; answered by `leave`) and `end`; its closing means `end`.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createInterface } from "node:readline";
import { Client } from "./client.mjs";

const defaults = {
  count: 1, version: 4, mode: "default", echoes: 0, text_bytes: 32, binary_bytes: 32, hold: false, keep_alive: false,
  connect_ms: 20_000, options: {},
};
const plan = { ...defaults, ...JSON.parse(process.argv[2] ?? "{}") };
const urls = plan.alternate ?? plan.urls;
if (!urls?.length) throw new Error("say where to connect: urls or alternate");
if (plan.ca) plan.options.ca = readFileSync(plan.ca);
if (plan.keep_alive) {
  const { Agent } = urls[0].startsWith("https") ? https : http;
  plan.options.agent = new Agent({ keepAlive: true });
}

const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const clients = Array.from({ length: plan.count }, (_, index) => new Client(index, urls[index % urls.length], plan, say));

/** Everything that was seen until now. A client that is not connected at this moment counts in nothing but its past. */
function report() {
  const live = clients.filter((client) => client.connected);
  return {
    connected: live.length,
    connect_errors: clients.flatMap((client) => client.connectErrors),
    disconnects: clients.flatMap((client) => client.disconnects),
    close_codes: clients.flatMap((client) => client.closeCodes),
    nodes: tally(live.map((client) => client.who?.node ?? "unknown")),
    transports: tally(live.map((client) => client.transport)),
    upgraded: clients.filter((client) => client.upgraded).length,
    upgrade_errors: clients.flatMap((client) => client.upgradeErrors),
    echoes_ok: sum(clients.map((client) => client.echoesOk)),
    echoes_failed: sum(clients.map((client) => client.echoesFailed)),
    headers: clients.find((client) => client.who)?.who.headers ?? null,
  };
}

const tally = (names) => names.reduce((counts, name) => ({ ...counts, [name]: (counts[name] ?? 0) + 1 }), {});
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function leave(node) {
  const leaving = clients.filter((client) => client.connected && client.who?.node === node);
  for (const client of leaving) client.close();
  return leaving.length;
}

let ended = false;
function end() {
  if (ended) return;
  ended = true;
  say("result", report());
  for (const client of clients) client.close();
  commands.close();
  process.stdin.destroy();
  // Node.js leaves by itself when the last socket is closed; a proxy that keeps one open must not hang the test.
  setTimeout(() => process.exit(0), 5_000).unref();
}

const commands = createInterface({ input: process.stdin });
commands.on("line", async (line) => {
  if (line === "who") say("who", { answers: await Promise.all(clients.map((client) => client.askWho())) });
  else if (line === "report") say("report", report());
  else if (line.startsWith("leave ")) say("leave", { left: leave(line.slice("leave ".length)) });
  else if (line === "end") end();
  else if (line) say("error", { message: `unknown command: ${line}` });
});
if (plan.hold) commands.on("close", end);

await Promise.all(clients.map((client) => client.settled));
say("ready", report());
if (!plan.hold) end();
