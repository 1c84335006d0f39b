// People who talk all the time, through whatever is in front of the nodes: each says numbers to the room, and all remember
// what they heard. One who loses the connection comes back by itself, which is a session of its own.
const { io } = require("socket.io-client");
const { serve } = require("./rpc.cjs");

const people = new Map();
let beat, waiting = [];

function look() {
  waiting = waiting.filter((look) => !look());
}

// Resolves as soon as `condition` says something true.
const until = (condition) =>
  new Promise((resolve) => {
    const look = () => {
      const value = condition();
      if (value) resolve(value);
      return Boolean(value);
    };
    look() || waiting.push(look);
  });

const all = () => [...people.values()];
const steady = () => all().filter(({ sessions }) => sessions === 1);

serve({
  // One connects after the other, so that they are spread as the balancer means it.
  async connect({ url, count }) {
    const ids = [];
    for (let n = 0; n < count; n++) {
      const name = `person-${n}`;
      const socket = io(url, { transports: ["websocket"], forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
      const person = { name, socket, sessions: 0, said: 0, heard: new Map(), ended: 0, isIn: false };
      people.set(name, person);
      socket.on("connect", () => {
        person.sessions += 1;
        socket.emit("join", ["room"], () => { person.isIn = true; look(); });
      });
      socket.on("disconnect", () => { person.isIn = false; });
      socket.on("said", (from, number) => {
        const key = `${from} ${number}`;
        person.heard.set(key, (person.heard.get(key) ?? 0) + 1);
        look();
      });
      socket.on("over", () => { person.ended += 1; look(); });
      await until(() => person.isIn);
      ids.push(socket.id);
    }
    return ids;
  },
  talk() {
    beat = setInterval(() => all().forEach((person) => {
      if (person.isIn) person.socket.emit("say", "room", person.name, person.said++);
    }), 40);
  },
  // Until everyone who has stayed has heard so many more.
  hear: ({ count }) => {
    const goals = new Map(all().map((person) => [person, person.heard.size + count]));
    return until(() => steady().every((person) => person.heard.size >= goals.get(person)) && steady().length);
  },
  // From here on a loss is none that something has to be there for: what was lost before is only counted, by the kinds of node.
  mark: () => all().forEach((person) => { person.from = person.said; }),
  // What those who have stayed missed of each other, and what anybody heard twice.
  async report() {
    clearInterval(beat);
    await until(() => all().every(({ isIn }) => isIn));
    const stayed = steady();
    const before = new Map(stayed.map((person) => [person, person.ended]));
    stayed.forEach(({ socket }) => socket.emit("finish", "room"));
    await until(() => stayed.every((person) => person.ended >= before.get(person) + stayed.length));
    const lost = [], early = { "js js": 0, "js rust": 0, "rust js": 0, "rust rust": 0 };
    // Ids in Node.js have 20 characters and those in Rust 16.
    const kind = ({ socket }) => (socket.id.length === 20 ? "js" : "rust");
    for (const from of stayed)
      for (let number = 0; number < from.said; number++)
        for (const to of stayed)
          if (to.heard.has(`${from.name} ${number}`)) continue;
          else if (number < (from.from ?? 0)) early[`${kind(from)} ${kind(to)}`] += 1;
          else lost.push(`${from.name} ${number} to ${to.name}`);
    const doubled = all().flatMap(({ name, heard }) =>
      [...heard].filter(([, times]) => times > 1).map(([key, times]) => `${key} ${times} times to ${name}`));
    const said = stayed.reduce((sum, { said }) => sum + said, 0);
    return { stayed: stayed.map(({ name }) => name), said, early, lost: lost.length, doubled: doubled.length, some: [...lost.slice(0, 5), ...doubled.slice(0, 5)] };
  },
});
