// socket.io-clients, as many as a test wants, each remembering what it received.
const { io } = require("socket.io-client");
const { serve } = require("./rpc.cjs");

const clients = new Map();
// The test has a bound of its own.
const PATIENCE = 120000;

const ops = {
  connect({ name, url, ns = "/", answer, mute, reconnection = true }) {
    const socket = io(url + ns, { transports: ["websocket"], forceNew: true, auth: { name }, reconnection, timeout: PATIENCE });
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
  join: ({ name, rooms }) => clients.get(name).socket.timeout(PATIENCE).emitWithAck("join", rooms).then(() => null),
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
  // Until each client has heard the event, or has been disconnected.
  fenced: ({ event }) =>
    Promise.all(
      [...clients.values()].map(
        ({ log, waiting }) =>
          new Promise((resolve) => {
            const look = () => {
              const is = log.some(([name]) => name === event || name === "disconnect");
              if (is) resolve(null);
              return is;
            };
            look() || waiting.push(look);
          }),
      ),
    ).then(() => null),
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
  // Ends the connection as a network would, and comes back when told to.
  lose: ({ name }) =>
    new Promise((resolve) => {
      const { socket } = clients.get(name);
      socket.once("disconnect", () => resolve(null));
      socket.io.engine.close();
    }),
  comeBack: ({ name }) =>
    new Promise((resolve) => {
      const { socket } = clients.get(name);
      socket.once("connect", () => resolve({ recovered: socket.recovered, id: socket.id }));
      socket.connect();
    }),
  forget: () => clients.forEach((client) => client.log.splice(0)),
  close: ({ name }) => void clients.get(name).socket.close(),
};

serve(ops);
