// Clients of an app with rooms (talk.cjs), steered by a test line by line.
//
//   node talkers.mjs '{"url":"http://127.0.0.1:3000","count":60,"rooms":6}'
//
// Clients take turns in rooms and in transports. stdin takes `round BYTES` (each client says a text and so many bytes to its
// room; answered by what was lost, doubled or changed), `ask` (what the app says of all its instances, asked by one client
// on each), `mesh COUNT` (waits until each instance knows so many), `flood COUNT BYTES` and `end`. Each is answered with
// one JSON object a line; `{"event":"connect"}` stands for each connect, once the client is in its room.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const { url, count, rooms } = JSON.parse(process.argv[2]);
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const ANSWER_MS = 20_000;

const clients = Array.from({ length: count }, (_, index) => {
  const transports = [["websocket"], ["polling"], ["polling", "websocket"]][index % 3];
  const socket = io(url, { forceNew: true, transports, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  const client = { index, room: `room ${index % rooms}`, socket, instance: null, heard: new Map() };
  socket.on("connect", async () => {
    client.instance = await socket.timeout(ANSWER_MS).emitWithAck("join", client.room).catch(() => null);
    if (client.instance) say("connect", { index });
  });
  socket.on("disconnect", () => (client.instance = null));
  socket.on("said", (name, payload) => {
    const heard = client.heard.get(name) ?? [];
    client.heard.set(name, [...heard, payload]);
    heardOne();
  });
  socket.on("question", (answer) => answer(client.index));
  return client;
});

let heardOne = () => {};
let rounds = 0;

/** Everybody says something to everybody in the same room, and hears each of it once. */
async function round(bytes) {
  const from = clients.filter((client) => client.instance);
  const prefix = `${rounds++}:`;
  const said = from.flatMap((client) => [
    { client, name: `${prefix}${client.index}:text`, payload: `words of ${client.index} `.repeat(3) },
    { client, name: `${prefix}${client.index}:bytes`, payload: Buffer.alloc(bytes, client.index + 1) },
  ]);
  const expected = from.flatMap((hears) => said.filter(({ client }) => client.room === hears.room).map((one) => ({ hears, ...one })));
  const missing = () => expected.filter(({ hears, name }) => !hears.heard.has(name));
  const all = new Promise((done) => {
    let left = expected.length;
    heardOne = () => {
      left -= 1;
      if (left <= 0 && missing().length === 0) done();
    };
  });
  await Promise.all(said.map(({ client, name, payload }) =>
    client.socket.timeout(ANSWER_MS).emitWithAck("say", client.room, name, payload)));
  await Promise.race([all, new Promise((done) => setTimeout(done, ANSWER_MS))]);
  // Behind the last message to each client comes whatever was sent twice before it.
  await Promise.all(from.map((client) => client.socket.timeout(ANSWER_MS).emitWithAck("join", client.room)));
  const is = (wanted, got) => typeof wanted === "string" ? wanted === got : wanted.equals(Buffer.from(got));
  say("round", {
    expected: expected.length,
    lost: missing().map(({ hears, name }) => `${name} at ${hears.index}`),
    doubled: expected.filter(({ hears, name }) => (hears.heard.get(name) ?? []).length > 1).length,
    changed: expected.filter(({ hears, name, payload }) => hears.heard.has(name) && !is(payload, hears.heard.get(name)[0])).length,
  });
  for (const client of clients) client.heard.clear();
}

/** A client on each instance. */
const speakers = () => [...new Map(clients.filter(({ instance }) => instance).map((client) => [client.instance, client])).values()];
const asks = (client, ...words) => client.socket.timeout(ANSWER_MS).emitWithAck(...words);
/** One that loses its connection meanwhile is asked again. */
const SOON_MS = 2_000;

async function ask() {
  const answers = [];
  for (const client of speakers()) {
    answers.push({
      asked: await asks(client, "ask", client.room),
      fetched: await asks(client, "fetch", client.room),
      instances: await asks(client, "instances"),
    });
  }
  say("ask", { answers });
}

async function mesh(wanted) {
  let last = "";
  const asksSoon = (client) => client.socket.timeout(SOON_MS).emitWithAck("instances").catch(({ message }) => ({ error: message }));
  const knows = async (client) => {
    const known = await asksSoon(client);
    const line = `${client.index} on ${client.instance}: ${JSON.stringify(known)}`;
    // For the message of a panic.
    if (known.found?.length !== wanted && line !== last) say("waits", { line });
    last = line;
    return known.found?.length === wanted;
  };
  while (!(await Promise.all(speakers().map(knows))).every(Boolean)) {
    await new Promise((done) => setTimeout(done, 50));
  }
  say("mesh", { instances: speakers().map(({ instance }) => instance) });
}

const commands = {
  round, ask, mesh,
  flood: async (times, bytes) => say("flood", await asks(speakers()[0], "flood", times, bytes) ?? {}),
  /** Only clients on other instances go on. */
  leave: async (instance) => {
    for (const client of clients.filter((client) => client.instance === instance)) {
      client.instance = null;
      client.socket.close();
    }
    say("leave", {});
  },
  end: () => process.exit(0),
};
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [name, ...words] = line.split(" ");
  Promise.resolve(commands[name](...words.map(Number))).catch(({ stack }) => say(name, { error: stack }));
});
lines.on("close", () => process.exit(0));
