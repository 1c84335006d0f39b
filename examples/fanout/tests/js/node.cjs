// A Socket.IO node as people write it: socket.io and @socket.io/redis-adapter, driven by a test.
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const streams = require("@socket.io/redis-streams-adapter");
const { connect } = require("./redis.cjs");
const { serve } = require("./rpc.cjs");

const AsyncFunction = (async () => {}).constructor;
// How long nodes are waited for. The test has a bound of its own.
const PATIENCE = 120000;
let io;
const heard = [];

const select = ({ ns = "/", rooms = [], except = [], volatile, local, timeout }) => {
  let operator = io.of(ns);
  if (rooms.length) operator = operator.to(rooms);
  if (except.length) operator = operator.except(except);
  if (volatile) operator = operator.volatile;
  if (local) operator = operator.local;
  if (timeout) operator = operator.timeout(timeout);
  return operator;
};

serve({
  async start({ redis, port = 0, mode = "Classic", recovery, options = {}, namespaces = ["/"] }) {
    const publish = await connect(redis);
    const adapter = await {
      Classic: async () => createAdapter(publish, await connect(redis), { requestsTimeout: PATIENCE, ...options }),
      Sharded: async () => createShardedAdapter(publish, await connect(redis), { subscriptionMode: "static", ...options }),
      Streams: async () => streams.createAdapter(publish, options),
    }[mode]();
    const http = createServer();
    io = new Server(http, { adapter, pingTimeout: PATIENCE, ...(recovery && { connectionStateRecovery: {} }) });
    for (const ns of namespaces) {
      io.of(ns).on("connection", (socket) => {
        socket.data.name = socket.handshake.auth.name;
        socket.on("join", (rooms, done) => done(socket.join(rooms)));
        socket.on("say", (room, ...message) => io.of(ns).to(room).emit("said", ...message));
        socket.on("finish", (room) => io.of(ns).to(room).emit("over"));
      });
      io.of(ns).on("ask", (argument, done) => done?.({ node: "js", argument }));
      io.of(ns).on("tell", (...args) => heard.push(args));
    }
    await new Promise((resolve) => http.listen(port, "127.0.0.1", resolve));
    return http.address().port;
  },
  emit: ({ event, args = [], ...where }) => void select(where).emit(event, ...args),
  // The partial answers come with the error when a client or a node is missing.
  emitWithAck: ({ event, args = [], ...where }) =>
    new Promise((resolve) =>
      select(where).emit(event, ...args, (error, answers) => resolve({ error: error?.message ?? null, answers })),
    ),
  fetchSockets: async (where) =>
    (await select({ timeout: PATIENCE, ...where }).fetchSockets()).map(({ id, handshake, rooms, data }) => ({ id, handshake, rooms, data })),
  async toEachFetched({ act, event, args = [], rooms, ...where }) {
    for (const socket of await select({ timeout: PATIENCE, ...where }).fetchSockets()) {
      if (act === "emit") socket.emit(event, ...args);
      if (act === "join") socket.join(rooms);
      if (act === "leave") rooms.forEach((room) => socket.leave(room));
      if (act === "disconnect") socket.disconnect();
    }
  },
  allRooms: ({ ns = "/" }) => io.of(ns).adapter.allRooms(),
  serverCount: ({ ns = "/" }) => io.of(ns).adapter.serverCount(),
  socketsJoin: ({ join, ...where }) => void select(where).socketsJoin(join),
  socketsLeave: ({ leave, ...where }) => void select(where).socketsLeave(leave),
  disconnectSockets: ({ close, ...where }) => void select(where).disconnectSockets(close),
  serverSideEmit: ({ ns = "/", args }) => void io.of(ns).serverSideEmit(...args),
  serverSideEmitWithAck: ({ ns = "/", args }) => io.of(ns).serverSideEmitWithAck(...args),
  // JavaScript of the test's own, for what JSON cannot say: `undefined`, symbols, holes.
  run: ({ code }) => new AsyncFunction("io", code)(io),
  heard: ({ count }) => until(() => heard.length >= count && heard),
  // What adapters before version 6 would have published.
  legacy: ({ ns = "/", request, type }) =>
    new Promise((resolve, reject) => {
      const { adapter } = io.of(ns);
      const requestId = `legacy-${Math.random()}`;
      const timeout = setTimeout(() => reject(new Error("no answer")), PATIENCE);
      const done = (value) => { clearTimeout(timeout); resolve(value ?? null); };
      adapter.requests.set(requestId, { type, numSub: 2, msgCount: 1, sockets: new Set(), resolve: done, timeout });
      adapter.pubClient.publish(adapter.requestChannel, JSON.stringify({ requestId, type, ...request }));
    }),
});

function until(condition) {
  return new Promise((resolve) => {
    const look = () => {
      const value = condition();
      value ? resolve(value) : setImmediate(look);
    };
    look();
  });
}
