// socket.io-clients, as many as a test wants, each remembering what it received.
const { io } = require("socket.io-client");
const { serve } = require("./rpc.cjs");

const clients = new Map();

const ops = {
  connect({ name, url, ns = "/", answer, mute }) {
    const socket = io(url + ns, { transports: ["websocket"], forceNew: true, auth: { name } });
    const client = { socket, log: [], waiting: [] };
    clients.set(name, client);
    socket.onAny((event, ...args) => {
      const done = typeof args.at(-1) === "function" && args.pop();
      client.log.push([event, ...args]);
      if (done && !mute) done(answer ?? name);
      client.waiting = client.waiting.filter((look) => !look());
    });
    socket.on("disconnect", (reason) => {
      client.log.push(["disconnect", reason]);
      client.waiting = client.waiting.filter((look) => !look());
    });
    return new Promise((resolve, reject) => {
      socket.on("connect", () => resolve(socket.id));
      socket.on("connect_error", reject);
    });
  },
  join: ({ name, rooms }) => clients.get(name).socket.timeout(10000).emitWithAck("join", rooms).then(() => null),
  emit: ({ name, event, args = [] }) => void clients.get(name).socket.emit(event, ...args),
  // Waits until `count` events of that name have come, and returns all that came until then, in order.
  received: ({ name, event, count = 1 }) =>
    new Promise((resolve) => {
      const { log, waiting } = clients.get(name);
      const look = () => {
        if (log.filter(([name]) => name === event).length < count) return false;
        resolve([...log]);
        return true;
      };
      look() || clients.get(name).waiting.push(look);
    }),
  // How many events of that name have come, once it is at least that many.
  count: ({ name, event, atLeast = 0 }) =>
    new Promise((resolve) => {
      const { log, waiting } = clients.get(name);
      const look = () => {
        const count = log.filter(([name]) => name === event).length;
        if (count >= atLeast) resolve(count);
        return count >= atLeast;
      };
      look() || waiting.push(look);
    }),
  // Fresh clients in the place of those of the same names, each in its rooms.
  async crew({ url, rooms }) {
    const connected = Object.entries(rooms).map(async ([name, rooms]) => {
      clients.get(name)?.socket.removeAllListeners().close();
      const id = await ops.connect({ name, url });
      await ops.join({ name, rooms });
      return [name, id];
    });
    return Object.fromEntries(await Promise.all(connected));
  },
  forget: () => clients.forEach((client) => client.log.splice(0)),
  close: ({ name }) => void clients.get(name).socket.close(),
};

serve(ops);
