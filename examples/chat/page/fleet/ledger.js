// What was said and who has it: every message that this page says is expected once by each of its sessions.

const KEPT_MS = 60_000;
/** When whatever is missing is called lost, where the session has been back for a while. */
const LOST_MS = 12_000;

export class Ledger {
  said = 0;
  arrived = 0;
  fetched = 0;
  lost = 0;
  doubled = 0;
  #messages = new Map();

  /** `names` are the sessions that are to have it. */
  say(id, names) {
    this.said += 1;
    this.#messages.set(id, { at: Date.now(), expected: names.length, waiting: new Set(names), live: new Set() });
  }

  /** A session got a message: by itself, or fetched from the app's history after a move. */
  take(name, id, isLive) {
    const message = this.#messages.get(id);
    if (!message) return;
    if (isLive) {
      if (message.live.has(name)) this.doubled += 1;
      message.live.add(name);
    }
    if (!message.waiting.delete(name)) return;
    this.arrived += 1;
    if (!isLive) this.fetched += 1;
  }

  /** Whether anybody has it, by itself or out of the history. */
  isKnown(id) {
    const message = this.#messages.get(id);
    return message && message.waiting.size < message.expected;
  }

  /** `isSettled` says whether a session has been here for long enough to have everything. */
  sweep(isSettled) {
    const now = Date.now();
    for (const [id, { at, waiting }] of this.#messages) {
      if (now - at > LOST_MS) {
        for (const name of [...waiting].filter(isSettled)) {
          waiting.delete(name);
          this.lost += 1;
        }
      }
      if (now - at > KEPT_MS && waiting.size === 0) this.#messages.delete(id);
    }
  }
}
