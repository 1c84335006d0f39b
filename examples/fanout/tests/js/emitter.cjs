// A process that serves no clients and publishes with @socket.io/redis-emitter.
const { Emitter } = require("@socket.io/redis-emitter");
const { connect } = require("./redis.cjs");
const { serve } = require("./rpc.cjs");

const AsyncFunction = (async () => {}).constructor;
let client, emitter;

const select = ({ ns = "/", rooms = [], except = [], volatile }) => {
  let operator = emitter.of(ns);
  if (rooms.length) operator = operator.to(rooms);
  if (except.length) operator = operator.except(except);
  if (volatile) operator = operator.volatile;
  return operator;
};

serve({
  async start({ redis, options }) {
    client = await connect(redis);
    emitter = new Emitter(client, options);
  },
  // JavaScript of the test's own. Redis answers in order, so that all of it is published when this returns.
  async run({ code }) {
    await new AsyncFunction("io", code)(emitter);
    await client.ping();
  },
  emit: ({ event, args = [], ...where }) => void select(where).emit(event, ...args),
  socketsJoin: ({ join, ...where }) => void select(where).socketsJoin(join),
  socketsLeave: ({ leave, ...where }) => void select(where).socketsLeave(leave),
  disconnectSockets: ({ close, ...where }) => void select(where).disconnectSockets(close),
  serverSideEmit: ({ ns = "/", args }) => void emitter.of(ns).serverSideEmit(...args),
});
