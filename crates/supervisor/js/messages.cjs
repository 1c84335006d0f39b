// Behind `preload.cjs` in the same script. Gives the app's process what it has under PM2 and under `cluster`: process.send,
// messages from its parent, and `cluster.worker.id`. It is no worker of a cluster all the same, and listens for itself.
//
// What @socket.io/cluster-adapter sends goes to the other instances of the app over a Unix socket of tidelock's, as frames:
// the length of the payload (4 bytes), a kind (1), a byte that is 0, the generation of the instance that it is for, or
// that it is from (6), and what `v8.serialize` makes of the message. Tidelock passes payloads on and does not read them
// (`bus.rs`). Which messages go to one instance alone is decided here, as `setupPrimary` of the adapter does it.
//
// `rooms.cjs` goes on in the same function.
//
// TIDELOCK_MESSAGES says which instance this is, whether it has `fanout`, and where the socket is. The first process that is not npm or the like
// takes it out of its environment, so that the processes that it starts have no channel, or one to their own parent.
'use strict';

const { EventEmitter } = require('node:events');
const net = require('node:net');
const { basename, dirname, join } = require('node:path');
const v8 = require('node:v8');
const { isMainThread } = require('node:worker_threads');

const said = process.env.TIDELOCK_MESSAGES;
const [, generation, fanout, place] = /^(\d+) (fanout|-) (.+)$/.exec(said ?? '') ?? [];
const HEADER_BYTES = 12;
const MESSAGE = 1;
const LEFT = 2;
const ROOMS = 3;
// As in bus/frame.rs.
const FRAME_BYTES_MAX = 32 << 20;
// Tidelock reads all the time, so that much waits only while there is none.
const QUEUE_BYTES_MAX = 256 << 20;
const RECONNECT_MS = 50;

// What an adapter's messages have in `source`, and their types: of version 0.2, and of 0.3.
const ADAPTER = '_sio_adapter';
const OLD = { WORKER_EXIT: 3, FETCH_SOCKETS_RESPONSE: 9, SERVER_SIDE_EMIT_RESPONSE: 11 };
const ADAPTER_CLOSE = 13;

if (isMainThread && place && !isRunner(process.argv[1])) {
  delete process.env.TIDELOCK_MESSAGES;
  beChild();
  beWorker();
  watchModules();
}

// They run the app in a process of its own.
function isRunner(script) {
  const names = /^(npm|npm-cli|npx|npx-cli|pnpm|pnpx|yarn|yarnpkg|corepack|nodemon|tsx|ts-node-dev|cross-env|dotenv|env-cmd)$/;
  if (typeof script !== 'string') return false;
  return names.test(basename(script).replace(/\.[cm]?js$/, '')) || /[\\/]tsx[\\/]dist[\\/]cli\.mjs$/.test(script);
}

// `process.send` and what belongs to it. A channel that is there already is tidelock's own for `ready` and `shutdown`, or
// that of a program that runs the app; what is no adapter's goes there. Without one it goes nowhere, as under PM2, where
// nobody listens to its bus. Nothing here keeps a process running, so that an app that has closed its servers ends.
function beChild() {
  const native = process.channel && process.send;
  process.send = function send(message, ...rest) {
    if (message === undefined) {
      throw Object.assign(new TypeError('The "message" argument must be specified'), { code: 'ERR_MISSING_ARGS' });
    }
    if (message?.source !== ADAPTER && native) return native.call(process, message, ...rest);
    const callback = rest.find((argument) => typeof argument === 'function');
    const error = process.connected ? message?.source === ADAPTER && publish(message) : closed();
    if (callback) process.nextTick(callback, error || null);
    else if (error && !process.connected) process.nextTick(() => process.emit('error', error));
    return !error;
  };
  if (native) return;
  process.connected = true;
  process.channel = { ref() {}, unref() {}, hasRef: () => false };
  process.disconnect = () => {
    if (!process.connected) return;
    process.connected = false;
    process.channel = null;
    socket?.end();
    process.nextTick(() => process.emit('disconnect'));
  };
}

function closed() {
  return Object.assign(new Error('Channel closed'), { code: 'ERR_IPC_CHANNEL_CLOSED' });
}

function beWorker() {
  const cluster = require('node:cluster');
  if (cluster.isWorker || cluster.worker) return;
  cluster.worker = Object.assign(new EventEmitter(), {
    id: Number(generation),
    process,
    exitedAfterDisconnect: undefined,
    isConnected: () => process.connected,
    isDead: () => false,
    send: (...args) => process.send(...args),
    disconnect: () => process.disconnect(),
    kill: () => process.exit(0),
    destroy: () => process.exit(0),
  });
}

// The other side of an adapter, by its uid: whose it is, and its namespace.
const adapters = new Map();
let hasOld = false;
let socket = null;
let wasConnected = false;
let isCorked = false;
// What was said while nobody was there to hear it, and how long that is.
let waiting = [];
let waitingBytes = 0;
let lost = 0;

// Sends an adapter's message; returns what is wrong.
function publish(message) {
  try {
    return sendFrame(MESSAGE, targetOf(message), serialize(message));
  } catch (error) {
    return error;
  }
}

function sendFrame(kind, to, payload) {
  if (payload.length > FRAME_BYTES_MAX) return lose(`a message of ${payload.length} bytes is longer than ${FRAME_BYTES_MAX}`);
  connect();
  if (waitingBytes + socket.writableLength + payload.length > QUEUE_BYTES_MAX) return lose('too many messages wait to be sent');
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(payload.length, 0);
  header[4] = kind;
  header.writeUIntBE(to, 6, 6);
  const frame = payload.length < 65536 ? [Buffer.concat([header, payload])] : [header, payload];
  if (!socket.connecting && !socket.destroyed) return write(frame);
  waiting.push(...frame);
  waitingBytes += payload.length;
}

// All that is said in one turn of the event loop leaves together.
function write(parts) {
  if (!isCorked) {
    isCorked = true;
    const corked = socket;
    corked.cork();
    process.nextTick(() => {
      isCorked = false;
      corked.uncork();
    });
  }
  for (const part of parts) socket.write(part);
}

// Functions and the like, which it cannot hold, it leaves out as JSON does.
function serialize(message) {
  try {
    return v8.serialize(message);
  } catch (error) {
    try {
      return v8.serialize(JSON.parse(JSON.stringify(message)));
    } catch {
      throw error;
    }
  }
}

function lose(why) {
  if (lost++ === 0) {
    const line = `tidelock: ${why}; it is lost for the other instances\n`;
    // Whoever reads the log has to know, and a log that cannot be written is no reason to stop an app.
    try { require('node:fs').writeSync(2, line); } catch { /* See above. */ }
  }
  return new Error(why);
}

// The generation of the instance that a message is for; 0 is all others.
function targetOf({ uid, requesterUid, type, data }) {
  if (requesterUid !== undefined) return adapters.get(requesterUid)?.generation ?? 0;
  if (uid !== undefined) return 0;
  hasOld = true;
  const isAnswer = type === OLD.FETCH_SOCKETS_RESPONSE || type === OLD.SERVER_SIDE_EMIT_RESPONSE;
  return isAnswer && Number.isSafeInteger(data?.workerId) ? data.workerId : 0;
}

function connect() {
  if (socket) return;
  const one = net.connect({ path: place });
  socket = one;
  one.unref();
  let parts = [];
  let size = 0;
  let wanted = HEADER_BYTES;
  one.on('connect', () => {
    if (wasConnected) tellRoomsAgain();
    wasConnected = true;
    const waited = waiting;
    [waiting, waitingBytes] = [[], 0];
    if (waited.length > 0) write(waited);
  });
  one.on('data', (chunk) => {
    parts.push(chunk);
    size += chunk.length;
    if (size < wanted) return;
    const rest = takeFrames(parts.length === 1 ? chunk : Buffer.concat(parts, size));
    parts = rest.length > 0 ? [rest] : [];
    size = rest.length;
    wanted = HEADER_BYTES + (size < HEADER_BYTES ? 0 : rest.readUInt32BE(0));
  });
  // Another tidelock may be about to go on in the place of this one.
  one.on('error', () => {});
  one.on('close', () => {
    socket = null;
    if (process.connected) setTimeout(connect, RECONNECT_MS).unref();
  });
}

// Returns what is left behind the last whole frame.
function takeFrames(bytes) {
  while (bytes.length >= HEADER_BYTES) {
    const end = HEADER_BYTES + bytes.readUInt32BE(0);
    if (bytes.length < end) break;
    take(bytes[4], bytes.readUIntBE(6, 6), bytes.subarray(HEADER_BYTES, end));
    bytes = bytes.subarray(end);
  }
  return bytes;
}

function take(kind, from, payload) {
  if (kind === LEFT) return takeLeave(from);
  if (kind !== MESSAGE) return;
  const message = v8.deserialize(payload);
  const { source, uid, nsp, type } = message;
  if (uid === undefined) hasOld = true;
  else if (type === ADAPTER_CLOSE) adapters.delete(uid);
  else if (!adapters.has(uid)) adapters.set(uid, { generation: from, source, nsp });
  deliver(message);
}

// An app that fails at one message gets the next one all the same.
function deliver(message) {
  process.nextTick(() => message.source === FANOUT ? hear(message) : process.emit('message', message, undefined));
}

// Nobody waits for the answers of an instance that is gone.
function takeLeave(from) {
  for (const [uid, { generation, source, nsp }] of adapters) {
    if (generation !== from) continue;
    adapters.delete(uid);
    deliver({ source, type: ADAPTER_CLOSE, uid, nsp });
  }
  if (hasOld) deliver({ source: ADAPTER, type: OLD.WORKER_EXIT, data: from });
}
