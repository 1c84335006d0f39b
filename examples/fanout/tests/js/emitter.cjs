// A process that serves no clients and publishes with @socket.io/redis-emitter.
const { Emitter } = require("@socket.io/redis-emitter");
const { connect } = require("./redis.cjs");
const { serve } = require("./rpc.cjs");

let emitter;

const select = ({ ns = "/", rooms = [], except = [], volatile }) => {
  let operator = emitter.of(ns);
  if (rooms.length) operator = operator.to(rooms);
  if (except.length) operator = operator.except(except);
  if (volatile) operator = operator.volatile;
  return operator;
};

serve({
  async start({ redis }) {
    emitter = new Emitter(await connect(redis));
  },
  emit: ({ event, args = [], ...where }) => void select(where).emit(event, ...args),
  socketsJoin: ({ join, ...where }) => void select(where).socketsJoin(join),
  socketsLeave: ({ leave, ...where }) => void select(where).socketsLeave(leave),
  disconnectSockets: ({ close, ...where }) => void select(where).disconnectSockets(close),
  serverSideEmit: ({ ns = "/", args }) => void emitter.of(ns).serverSideEmit(...args),
});
