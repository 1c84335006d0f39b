// One socket.io-client of either version, and what a test wants to know of it.
import { io as io4, NodeWebSocket, NodeXHR } from "socket.io-client";
import io2 from "socket.io-client-v2";
import { Http2Polling, Http2WebSocket } from "./http2.mjs";

const ACK_MS = 20_000;

export class Client {
  connectErrors = [];
  disconnects = [];
  closeCodes = [];
  upgradeErrors = [];
  upgraded = false;
  echoesOk = 0;
  echoesFailed = 0;
  /** The last answer to `who`: which node this client is on. */
  who = null;
  #socket;
  #plan;

  constructor(index, url, plan, say) {
    this.#plan = plan;
    this.#socket = (plan.version === 2 ? io2 : io4)(url, {
      forceNew: true,
      reconnectionDelay: 100,
      transports: transports(plan),
      ...plan.options,
    });
    this.#record(index, say);
    /** Fulfilled once the client is connected, its transport is final and its echoes are back; or it has failed. */
    this.settled = this.#settle();
  }

  get connected() {
    return this.#socket.connected;
  }

  get transport() {
    return this.#socket.io.engine.transport.name;
  }

  async askWho() {
    if (!this.connected) return null;
    const [answer] = await this.#ask("who").catch(() => [null]);
    if (answer) this.who = answer;
    return answer && { ...answer, client_sid: this.#socket.io.engine.id };
  }

  close() {
    this.#socket.close();
  }

  #record(index, say) {
    const socket = this.#socket;
    socket.on("connect", () => {
      say("connect", { client: index, at_ms: Date.now() });
      // After a reconnect it may be another node; asking is part of the client's life, not of a command.
      this.askWho();
    });
    socket.on("connect_error", (error) => {
      const message = explain(error);
      this.connectErrors.push(message);
      say("connect_error", { client: index, message });
    });
    socket.on("disconnect", (reason, details) => {
      if (reason === "io client disconnect") return;
      this.disconnects.push(reason);
      // Only a WebSocket has one; a polling session ends with a packet.
      const code = details?.context?.code;
      if (code) this.closeCodes.push(code);
      this.who = null;
      say("disconnect", { client: index, reason, code, at_ms: Date.now() });
    });
    // Probing starts right after `open`, before Socket.IO's own `connect`.
    socket.io.on("open", () => {
      const engine = socket.io.engine;
      engine.on("upgrade", () => (this.upgraded = true));
      engine.on("upgradeError", (error) => this.upgradeErrors.push(explain(error)));
    });
  }

  async #settle() {
    await Promise.race([Promise.all([this.#connected(), this.#transportFinal()]), this.#gaveUp()]);
    if (!this.connected) return;
    if (!this.who) await this.askWho();
    const { echoes, text_bytes, binary_bytes } = this.#plan;
    for (let round = 0; round < echoes; round += 1) {
      if (text_bytes) await this.#echo(text(text_bytes, round));
      if (binary_bytes) await this.#echo(binary(binary_bytes, round));
    }
  }

  #connected() {
    return new Promise((resolve) => this.#socket.once("connect", resolve));
  }

  /** With mode "default" the transport is final when the upgrade has succeeded or failed. */
  #transportFinal() {
    if (this.#plan.mode !== "default") return null;
    return new Promise((resolve) => {
      this.#socket.io.on("open", () => {
        for (const event of ["upgrade", "upgradeError"]) this.#socket.io.engine.once(event, resolve);
      });
    });
  }

  #gaveUp() {
    return new Promise((resolve) => setTimeout(resolve, this.#plan.connect_ms).unref());
  }

  async #echo(value) {
    const answer = await this.#ask("echo", value).catch((error) => [error]);
    if (answer.length === 1 && same(value, answer[0])) this.echoesOk += 1;
    else this.echoesFailed += 1;
  }

  /** Emits and waits for the acknowledgement; version 2 has no timeout of its own. */
  #ask(event, ...args) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${event}`)), ACK_MS);
      const settle = (finish, value) => {
        clearTimeout(timer);
        this.#socket.off("disconnect", onDisconnect);
        finish(value);
      };
      const onDisconnect = (reason) => settle(reject, new Error(reason));
      this.#socket.on("disconnect", onDisconnect);
      this.#socket.emit(event, ...args, (...answer) => settle(resolve, answer));
    });
  }
}

function transports({ mode, version, alternate, http2 }) {
  const names = mode === "default" ? ["polling", "websocket"] : [mode];
  if (!alternate && !http2) return names;
  if (version !== 4) throw new Error("only with version 4 may a transport be a class");
  if (http2) return names.map((name) => ({ polling: Http2Polling, websocket: Http2WebSocket })[name]);
  const next = inTurn(alternate.map((url) => new URL(url).host));
  const classes = { polling: through(NodeXHR, next), websocket: through(NodeWebSocket, next) };
  return names.map((name) => classes[name]);
}

/** A transport like `Transport`, each of whose requests goes to the next host. */
function through(Transport, nextHost) {
  return class extends Transport {
    createUri(schema, query) {
      const uri = new URL(super.createUri(schema, query));
      uri.host = nextHost();
      return uri.href;
    }
  };
}

function inTurn(hosts) {
  let turn = 0;
  return () => hosts[turn++ % hosts.length];
}

/** The message the client gives, and what it knows of the cause: a status, or the text of the answer. */
function explain(error) {
  const cause = error?.description ?? error?.context?.status;
  const detail = typeof cause === "object" ? cause?.message : cause;
  return [error?.message ?? String(error), detail].filter((part) => part !== undefined).join(": ");
}

// Bytes with no short period: a piece lost, doubled or moved inside must show.
function binary(length, round) {
  const bytes = Buffer.alloc(length);
  let state = round + 1;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

const text = (length, round) => binary(length, round).map((byte) => 97 + (byte % 26)).toString("latin1");
const same = (sent, got) => (Buffer.isBuffer(sent) ? Buffer.isBuffer(got) && sent.equals(got) : sent === got);
