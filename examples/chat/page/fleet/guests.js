// The clients of the page: each a socket.io-client with a connection of its own, as if it were somebody else's browser.
//
// Socket.IO delivers at most once: what is said while a session moves does not reach it. So they do what the guides of Socket.IO tell
// every chat to do: a message has an id and is said again if nobody has acknowledged it, and whoever comes back fetches
// what was said meanwhile.

const ACK_MS = 4_000;
/** A history may hear of a message a moment after the room does. */
const FETCH_AGAIN_MS = 1_000;
/** Clocks of nodes may differ a little. */
const MARGIN_MS = 2_000;
/** After that a session that is back has all that it missed. */
const SETTLED_MS = 3_000;

export class Guest {
  /** `connecting`, `here`, or `moving` between the end of a session and the beginning of the next. */
  state = "connecting";
  node = null;
  pid = null;
  transport = null;
  moves = 0;
  #joinedAt = 0;
  #awaySince = 0;
  #unacknowledged = new Map();

  /** `told` has `changed(guest)`, `message(guest, message, isLive)` and `fetch(since)`, which returns messages. */
  constructor({ name, transports, room, isYou = false }, ledger, told) {
    Object.assign(this, { name, room, isYou, ledger, told });
    this.socket = window.io({
      transports, forceNew: true, reconnectionDelay: 250, reconnectionDelayMax: 2_000, timeout: 5_000,
    });
    this.socket.on("connect", () => this.#enter());
    this.socket.on("disconnect", () => this.#leave());
    this.socket.on("message", (message) => this.#take(message, true));
    this.socket.io.on("open", () => {
      const { engine } = this.socket.io;
      engine.on("upgrade", (transport) => {
        this.transport = transport.name;
        told.changed(this);
      });
    });
  }

  get isHere() { return this.state === "here"; }
  get isMember() { return this.#joinedAt > 0; }
  get isSettled() { return this.isHere && Date.now() - this.#joinedAt > SETTLED_MS; }

  say(id, text) {
    this.#unacknowledged.set(id, text);
    this.#send(id, text);
  }

  async #enter() {
    const { id } = this.socket;
    try {
      const who = await this.socket.timeout(ACK_MS).emitWithAck("who");
      await this.socket.timeout(ACK_MS).emitWithAck("join", { room: this.room, name: this.name });
      Object.assign(this, { node: who.node, pid: who.pid, transport: this.socket.io.engine.transport.name });
    } catch {
      // It was closed meanwhile, or its node is; in the latter case the next try is ours to begin.
      if (this.socket.id === id) this.socket.io.engine.close();
      return;
    }
    const since = this.#awaySince;
    if (since) this.moves += 1;
    this.state = "here";
    this.#joinedAt = Date.now();
    this.told.changed(this);
    if (!since) return;
    await this.#fetch(since);
    // What it had said may have come through although nobody has told it so, and may still be on its way to the others.
    setTimeout(async () => {
      await this.#fetch(since);
      if (this.socket.id === id) this.#sayAgain();
    }, FETCH_AGAIN_MS);
  }

  #sayAgain() {
    for (const [message, text] of this.#unacknowledged) {
      if (this.ledger.isKnown(message)) this.#unacknowledged.delete(message);
      else this.#send(message, text);
    }
  }

  #leave() {
    // Of several ends in a row the first one counts.
    if (this.isHere) this.#awaySince = Date.now();
    this.state = "moving";
    this.transport = null;
    this.told.changed(this);
  }

  async #fetch(since) {
    for (const message of await this.told.fetch(since - MARGIN_MS)) this.#take(message, false);
  }

  #take(message, isLive) {
    if (message.id) this.ledger.take(this.name, message.id, isLive);
    this.told.message(this, message, isLive);
  }

  #send(id, text) {
    this.socket.timeout(ACK_MS).emit("message", { room: this.room, id, text }, (failed, isTaken) => {
      if (!failed && isTaken) this.#unacknowledged.delete(id);
    });
  }
}
