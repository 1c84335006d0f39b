// Clients of Socket.IO that talk once a second, and what they live through while their node leaves, or their server closes
// their sessions itself.
import { io as io4 } from "socket.io-client";

import { alone, onTwoInstances, onTwoNodes } from "./stage.mjs";

const CLIENTS = 20;
const EVERY_MS = 1000;
/** The next message is said up to a second later, and a client is back within two. */
const QUIET_MS_MAX = EVERY_MS + 2000;
const WINDOW_S = 10;

/** Socket.IO 4 on Node.js. */
const NODE_JS = { folder: import.meta.dirname, command: ["node", "server.mjs"] };

/**
 * Drains one of two nodes under clients that poll, then rolls both instances of an app under them. What is lost is compared
 * with what `server` loses, a Socket.IO server on Node.js without a proxy that closes as many sessions itself.
 */
export async function leaving(app, { io = io4, server = NODE_JS } = {}) {
  const drained = await onTwoNodes(app, {}, (stage) => talk(stage.url, io, () => stage.verb("drain", stage.nodes[0].address)));
  const rolled = await onTwoInstances(app, {}, (stage) => talk(stage.url, io, () => stage.verb("reload", "real")));
  const closes = drained.hit + rolled.hit;
  const closed = await alone(server, (node) => talk(`http://${node.address}`, io, () => closesAll(node), closes));
  const good = drained.seconds <= WINDOW_S + 2 && drained.hit > 0 && rolled.hit > 0 && closed.hit === closes;
  const [lost, bar] = [drained.lost + rolled.lost, closed.lost];
  return {
    good: [drained, rolled].every((each) => each.good) && good && lost <= bar,
    seen: `drain: ${drained.said}; roll: ${rolled.said}; Node.js' server alone closes ${closes}: ${bar} of ${closed.sent} messages lost`,
    detail: [drained.out, rolled.out],
  };
}

/** The server closes each of its sessions at a moment of its own within the window. */
async function closesAll(node) {
  node.signal("SIGUSR2");
  await later(WINDOW_S * 1000);
  return { code: 0, seconds: WINDOW_S, said: "" };
}

async function talk(url, io, act, count = CLIENTS) {
  const clients = Array.from({ length: count }, () => new Talker(url, io));
  await Promise.all(clients.map((client) => client.ready));
  await later(2000);
  const { code, seconds, said: out } = await act();
  await later(4000);
  await Promise.all(clients.map((client) => client.stop()));
  const sum = (of) => clients.reduce((total, client) => total + of(client), 0);
  const most = (of) => Math.max(...clients.map(of));
  const [sent, lost, hit] = [sum((each) => each.sent), sum((each) => each.lost), sum((each) => each.disconnects > 0)];
  const [away, quiet] = [most((each) => each.away), most((each) => each.quiet)];
  const said = `exit ${code} after ${seconds.toFixed(1)} s, ${hit} clients hit, back within ${(away / 1000).toFixed(1)} s, `
    + `longest silence ${(quiet / 1000).toFixed(1)} s, ${lost} of ${sent} messages lost`;
  return { good: code === 0 && quiet <= QUIET_MS_MAX && away <= 2000, said, out, hit, seconds, lost, sent };
}

class Talker {
  sent = 0;
  lost = 0;
  disconnects = 0;
  /** The longest time between a disconnect and the connect that followed. */
  away = 0;
  /** The longest time between two answers. */
  quiet = 0;

  constructor(url, io) {
    this.socket = io(url, { transports: ["polling"], forceNew: true });
    this.ready = new Promise((ready, failed) => {
      this.socket.once("connect", ready);
      setTimeout(failed, 30_000, new Error("no client connects"));
    });
    this.socket.on("disconnect", () => { this.disconnects += 1; this.gone = Date.now(); });
    this.socket.on("connect", () => { if (this.gone) this.away = Math.max(this.away, Date.now() - this.gone); });
    this.waiting = new Set();
    this.last = Date.now();
    this.ready.then(() => { this.last = Date.now(); this.timer = setInterval(() => this.say(), EVERY_MS); });
  }

  say() {
    const number = (this.sent += 1);
    this.waiting.add(number);
    this.socket.emit("say", number, (back) => {
      if (back !== number) return;
      this.waiting.delete(number);
      this.quiet = Math.max(this.quiet, Date.now() - this.last);
      this.last = Date.now();
    });
  }

  async stop() {
    clearInterval(this.timer);
    for (let turns = 0; turns < 30 && this.waiting.size > 0; turns += 1) await later(100);
    this.quiet = Math.max(this.quiet, Date.now() - this.last - EVERY_MS);
    this.lost = this.waiting.size;
    // Its own end is none of the disconnects that are counted.
    this.socket.off("disconnect");
    this.socket.close();
  }
}

const later = (ms) => new Promise((over) => setTimeout(over, ms));
