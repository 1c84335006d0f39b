// Many people in overlapping rooms of the chat, through whatever stands in front of its nodes.
//
//   node people.mjs '{"url":"http://127.0.0.1:8080"}'
//
// url      where they connect
// people   how many (80); a third each polls alone, upgrades, and begins with WebSocket
// rooms    how many rooms (7); everybody is in two
//
// Everybody says one text and sends one picture to each of their rooms, and then, when all have all of that, a last
// word, which no message that is on its way a second time can come after. Then every second person leaves. Prints a
// line for each step that is done, and one JSON object: {"nodes":{NODE:PEOPLE}, "transports":{…}, "messages":{"KIND FROM
// TO":COUNT}, "lost":[…], "doubled":[…], "strays":[…], "spoilt":[…], "wrong_members":[…]}. `messages` counts by the node
// that the sender is on and the node that the receiver is on.
import { createRequire } from "node:module";

const { io } = createRequire(new URL("../../../crates/testkit/js/", import.meta.url))("socket.io-client");
const plan = { people: 80, rooms: 7, ...JSON.parse(process.argv[2]) };
/** When whatever is missing is called lost. */
const PATIENCE_MS = 25_000;
const TRANSPORTS = [["polling"], ["polling", "websocket"], ["websocket"]];
const SHOWN = 10;
const KINDS = ["text", "picture", "last"];

class Person {
  /** The last list of each room. */
  members = new Map();
  /** How often each text came. */
  received = new Map();
  /** What came otherwise than it was sent, and lost connections. */
  spoilt = [];

  constructor(index) {
    this.name = `person-${index}`;
    // Both are never the same room.
    const first = index % plan.rooms;
    const second = (first + 1 + (Math.floor(index / plan.rooms) % (plan.rooms - 1))) % plan.rooms;
    this.rooms = [first, second].map((room) => `room ${room}`);
    this.transports = TRANSPORTS[index % TRANSPORTS.length];
    this.socket = io(plan.url, { transports: this.transports, forceNew: true, reconnection: false });
    this.socket.on("members", ({ room, names }) => { this.members.set(room, names.join()); look?.(); });
    this.socket.on("message", (message) => { this.take(message); look?.(); });
    this.socket.on("disconnect", (reason) => this.leaving || this.spoilt.push(`${this.name}: ${reason}`));
  }

  async connect() {
    await new Promise((resolve, reject) => this.socket.on("connect", resolve).on("connect_error", reject));
    const { engine } = this.socket.io;
    if (this.transports.length > 1 && engine.transport.name === "polling") {
      await new Promise((resolve, reject) => engine.on("upgrade", resolve).on("upgradeError", reject));
    }
    this.node = (await this.socket.timeout(PATIENCE_MS).emitWithAck("who")).node;
  }

  async join() {
    for (const room of this.rooms) {
      const isIn = await this.socket.timeout(PATIENCE_MS).emitWithAck("join", { room, name: this.name });
      if (!isIn) throw new Error(`${this.name} may not enter ${room}`);
    }
  }

  say(kind) {
    for (const room of this.rooms) {
      const text = id(this, room, kind);
      this.socket.emit("message", { room, text, ...(kind === "picture" && { picture: bytes(text) }) });
    }
  }

  take({ room, name, text, picture, node }) {
    const before = this.received.get(text) ?? 0;
    this.received.set(text, before + 1);
    const sender = people.find((person) => person.name === name);
    const [, , kind] = text.split("/");
    if (before === 0) heard[kind] += 1;
    // Whoever lists numbers instead of sending bytes has spoilt them too.
    const right = kind === "picture" ? Buffer.isBuffer(picture) && bytes(text).equals(picture) : !picture;
    if (!right || sender?.node !== node || !text.startsWith(`${name}/${room}/`)) {
      this.spoilt.push(`${text} from ${name} on ${node} in ${room}`);
    }
  }

  /** What this person must have heard of these kinds. */
  expected(kinds) {
    const said = (room) => kinds.flatMap((kind) => inRoom(people, room).map((other) => id(other, room, kind)));
    return this.rooms.flatMap(said);
  }

  /** The rooms whose list is not exactly those of `present` that are in it. */
  wrongMembers(present) {
    const names = (room) => inRoom(present, room).map((other) => other.name).sort().join();
    return this.rooms.filter((room) => this.members.get(room) !== names(room));
  }
}

const inRoom = (some, room) => some.filter((person) => person.rooms.includes(room));
const id = (person, room, kind) => `${person.name}/${room}/${kind}`;
const bytes = (text) => Buffer.from(`\0\xff${text}`.repeat(20), "latin1");
const say = (step) => console.log(`done: ${step}`);

/** Looks again; null while nobody waits, or when it will look anyway. */
let look = null;

/** Until `holds`, which is asked after something came; or until patience ends, for the report to say why. */
async function until(holds) {
  let isOver = false;
  const timer = setTimeout(() => { isOver = true; look?.(); }, PATIENCE_MS);
  while (!holds() && !isOver) await new Promise((resolve) => (look = resolve));
  look = null;
  clearTimeout(timer);
}

const missing = (kinds) => people.flatMap((person) => {
  const lost = person.expected(kinds).filter((text) => !person.received.has(text));
  return lost.map((text) => `${text} for ${person.name}`);
});
const wrong = (present) => present.flatMap((person) =>
  person.wrongMembers(present).map((room) => `${room} for ${person.name}: ${person.members.get(room)}`));

const people = [];
/** How many messages of each kind have arrived somewhere, each counted once for each person. */
const heard = { text: 0, picture: 0, last: 0 };

for (let index = 0; index < plan.people; index += 1) people.push(new Person(index));
/** And how many must. */
const total = people.flatMap((person) => person.expected(["any"])).length;

await Promise.all(people.map((person) => person.connect()));
say("connected");
await Promise.all(people.map((person) => person.join()));
say("joined");
await until(() => wrong(people).length === 0);
const wrongMembers = wrong(people);
say("members");
for (const kind of ["text", "picture"]) for (const person of people) person.say(kind);
await until(() => heard.text + heard.picture >= 2 * total);
say("heard");
for (const person of people) person.say("last");
await until(() => heard.last >= total);
say("last words");

const tally = (keys) => keys.reduce((counts, key) => ({ ...counts, [key]: (counts[key] ?? 0) + 1 }), {});
const all = people.flatMap((person) => [...person.received].map(([text, count]) => ({ person, text, count })));
const nodeOf = new Map(people.map((person) => [person.name, person.node]));
const report = {
  nodes: tally(people.map((person) => person.node)),
  transports: tally(people.map((person) => person.socket.io.engine.transport.name)),
  messages: tally(all.map(({ person, text }) => {
    const [name, , kind] = text.split("/");
    return `${kind} ${nodeOf.get(name)} ${person.node}`;
  })),
  lost: missing(KINDS),
  doubled: all.filter(({ count }) => count > 1).map(({ person, text }) => `${text} for ${person.name}`),
  strays: people.flatMap((person) => {
    const expected = new Set(person.expected(KINDS));
    const strays = [...person.received.keys()].filter((text) => !expected.has(text));
    return strays.map((text) => `${text} for ${person.name}`);
  }),
};

const [stay, go] = [0, 1].map((half) => people.filter((_, index) => index % 2 === half));
for (const person of go) {
  person.leaving = true;
  person.socket.close();
}
await until(() => wrong(stay).length === 0);
report.wrong_members = [...wrongMembers, ...wrong(stay)];
report.spoilt = people.flatMap((person) => person.spoilt);
say("half have left");
for (const [key, value] of Object.entries(report)) {
  if (value.length > SHOWN) report[key] = [...value.slice(0, SHOWN), `and ${value.length - SHOWN} more`];
}
// Only when it is written: what is still in the pipe ends with the process.
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
