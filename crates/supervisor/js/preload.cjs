// Tidelock loads this into every Node.js process of an app, before the app's own code: `--require` in NODE_OPTIONS,
// which CommonJS and ES modules obey alike. It makes the app listen where tidelock wants it, whatever port is written
// in its code, by standing in front of `net.Server.prototype.listen`, through which http, https, http2, express and
// fastify all go.
//
// Which of its ports is the app's, tidelock decides by what it finds there (`ready.rs`); a listen on PORT, or on
// TIDELOCK_PORT if that is set, always is. Until then each port that may be it gets a place on loopback, the first one
// that which PORT names, and a line in the file `ports` of the instance's folder. Those that turn out not to be it are
// at their own address again in the first instance, and stay where they are in the others, since two cannot have the
// same. What the app opens on loopback beside its first port is not moved in the first instance.
//
// Worker threads, helper processes, Unix sockets and port 0 are left alone. A file decides between processes.
// Whoever in the instance connects to a port in its code on loopback comes to where that port is now.
//
// `server.address()` tells where the server really listens.
'use strict';

const { errorMonitor } = require('node:events');
const { isMainThread } = require('node:worker_threads');
const net = require('node:net');

const { TIDELOCK_FOLDER: folder, TIDELOCK_PORT: named, PORT: told, NODE_APP_INSTANCE: slot } = process.env;
const loaded = Symbol.for('tidelock.preload');
const listen = net.Server.prototype.listen;
// The servers that have a place of ours, by the port that they asked for.
const placed = new Map();
// Those of which it is not decided yet whether they are the app.
const undecided = new Set();
let isDecided = Boolean(named);

if (isMainThread && folder && told && !net.Server[loaded]) {
  net.Server[loaded] = true;
  net.Server.prototype.listen = listenInstead;
  findMoved();
}

function listenInstead(...args) {
  const wish = isOfCluster(this) ? null : wishOf(args);
  // Fastify gives the port that it got to the servers for the other addresses of `localhost`.
  if (wish === null || (wish.options.host === '::1' && hasPlaceAt(wish.port))) return listen.apply(this, args);
  const { options, callback, port } = wish;
  const go = (changed) => listen.call(this, { ...withoutAddress(options), ...changed }, ...callback);

  const isApp = String(port) === told || port === Number(named);
  const seat = take(port);
  if (seat === 'this') {
    const others = placed.get(port);
    // The same port on another address, such as ::1 beside 127.0.0.1.
    if (others && others !== this && isPort(told)) {
      return go({ port: Number(told), host: options.host });
    }
    note(this, wish, isApp);
    return go(toldOptions());
  }
  // Somebody else sits where the app was told to listen.
  if (isApp) {
    note(this, wish, true);
    return go(freePlace(port));
  }
  if (seat === 'other') return listen.apply(this, args);
  if (!isDecided && !isLoopback(options.host)) {
    note(this, wish, false);
    return go(freePlace(port));
  }
  if (Number(slot) > 0) {
    tellMoved(this, port, BELONGS);
    return go(free);
  }
  // While the first instance is being replaced, the old one still has the port.
  ifInUse(this, () => {
    tellMoved(this, port, 'is in use');
    listen.call(this, { ...withoutAddress(options), ...free });
  });
  return listen.apply(this, args);
}

// What a listen asks for if it is one on a TCP port; the rules are those of Node.js (`normalizeArgs` in lib/net.js).
function wishOf(args) {
  const [first] = args;
  const isObject = typeof first === 'object' && first !== null;
  const last = args.at(-1);
  const callback = typeof last === 'function' ? [last] : [];
  let options = first;
  if (!isObject) {
    options = { port: first };
    if (typeof args[1] === 'string') options.host = args[1];
    const backlog = args.slice(1, 3).map(Number).find((number) => number > 0);
    if (backlog) options.backlog = backlog;
  } else if (first._handle || first.handle || first.fd >= 0) {
    return null;
  }
  if (!isPort(told) && (options.port === told || options.path === told)) return { port: told, options, callback };
  if (typeof options.port !== 'number' && typeof options.port !== 'string') return null;
  const port = Number(options.port);
  return Number.isInteger(port) && port > 0 && port < 65536 ? { port, options, callback } : null;
}

// What else a listen asks for, such as its backlog.
function withoutAddress({ port, host, path, ipv6Only, reusePort, ...rest }) {
  return rest;
}

function toldOptions() {
  return isPort(told) ? { port: Number(told), host: '127.0.0.1' } : { path: told };
}

const free = { port: 0, host: '127.0.0.1' };
const BELONGS = 'belongs to the first instance';

// A place that is neither the app's nor that which the port names.
function freePlace(port) {
  return isPort(told) ? free : { path: `${told}-${isPort(port) ? port : 'app'}` };
}

function isLoopback(host) {
  return typeof host === 'string' && (host === 'localhost' || host === '::1' || /^127\./.test(host));
}

function hasPlaceAt(port) {
  return [...placed.values()].some((server) => server.listening && server.address()?.port === port);
}

// What the primary of a cluster opens for its workers, they have asked for here already.
function isOfCluster(server) {
  return server.listeners('connection').some(({ name }) => name === 'fail') && require('node:cluster').isPrimary;
}

function isPort(text) {
  return /^\d+$/.test(text);
}

// Whose the place is that PORT names: taken by 'this' process for `port`, by one that is 'other' and alive and no helper
// of this one, or not to be had for this port, 'nobody'.
function take(port) {
  const fs = require('node:fs');
  const lock = `${folder}/listens`;
  const isIt = !named || port === Number(named) || String(port) === told;
  for (let attempt = 0; attempt < 3; attempt++) {
    const held = read(fs, lock);
    if (held !== null) {
      // All workers of a cluster share one port, through their primary.
      const isShared = held.pid === process.pid || require('node:cluster').isWorker;
      if (isShared) return held.port === port ? 'this' : 'nobody';
      // Whoever starts another process and serves itself is the app, and the other one its helper.
      if (isAlive(held.pid)) return held.parent === process.pid ? 'nobody' : 'other';
      // Whoever held it was replaced within the instance, as nodemon does.
      try { fs.unlinkSync(lock); } catch { /* Another one was faster. */ }
    }
    if (!isIt) return 'nobody';
    // It comes to be in one step and whole, and only once.
    const own = `${lock}-${process.pid}`;
    try {
      fs.writeFileSync(own, JSON.stringify({ pid: process.pid, parent: process.ppid, port }), { mode: 0o600 });
      fs.linkSync(own, lock);
      return 'this';
    } catch (error) {
      // Without its folder there is no instance any more.
      if (error.code !== 'EEXIST') return 'other';
    } finally {
      fs.rmSync(own, { force: true });
    }
  }
  return 'other';
}

// Tells tidelock where the server is once it listens.
function note(server, wish, isApp) {
  placed.set(wish.port, server);
  if (isApp) decide(null, true);
  const listening = () => {
    const { port, options: { host } } = wish;
    const at = server.address();
    const place = typeof at === 'string' ? at : `${at.address}:${at.port}`;
    const isTls = typeof server.setSecureContext === 'function';
    const line = { pid: process.pid, port, at: place, is_app: isApp, is_loopback: isLoopback(host), is_tls: isTls };
    // A folder that is gone, or a disk that is full, is no reason to stop an app.
    try { require('node:fs').appendFileSync(`${folder}/ports`, `${JSON.stringify(line)}\n`); } catch { /* See above. */ }
    if (!isApp) wait({ server, wish, place });
  };
  server.prependOnceListener('listening', listening);
  server.once('close', () => {
    server.off('listening', listening);
    if (placed.get(wish.port) === server) placed.delete(wish.port);
  });
}

function read(fs, lock) {
  try {
    return JSON.parse(fs.readFileSync(lock, 'utf8'));
  } catch {
    return null;
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// Tidelock writes into the file `app` where the app is, once it has found something, and again if something better comes.
let timer = null;

function wait(one) {
  if (isDecided) return settle(one);
  undecided.add(one);
  timer ??= setInterval(() => {
    const app = read(require('node:fs'), `${folder}/app`);
    if (app !== null) decide(app.at, app.is_final);
  }, 100).unref();
}

// The app is at `place`, or where this process has just been told to listen.
function decide(place, isFinal) {
  isDecided = true;
  for (const one of undecided) {
    if (one.place === place) continue;
    undecided.delete(one);
    settle(one);
  }
  if (!isFinal && undecided.size > 0) return;
  undecided.clear();
  clearInterval(timer);
}

// What is not the app is at its own address too, if it can have it.
function settle({ server, wish: { port, options }, place }) {
  if (!server.listening) return;
  if (Number(slot) > 0) return moved(place, port, BELONGS);
  const { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay } = server;
  const beside = net.createServer({ allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay });
  beside.on('connection', (socket) => server.emit('connection', socket));
  beside.on('error', () => moved(place, port, 'is in use'));
  const { close } = server;
  server.close = function (...args) {
    server.close = close;
    beside.close();
    return close.apply(this, args);
  };
  listen.call(beside, { port, host: options.host, backlog: options.backlog, ipv6Only: options.ipv6Only });
  beside.unref();
}

// Connections of the instance's own to ports in its code.
function findMoved() {
  const { connect } = net.Socket.prototype;
  net.Socket.prototype.connect = function (...args) {
    const isNormal = Array.isArray(args[0]);
    const given = isNormal ? args[0] : args;
    const options = typeof given[0] === 'object' ? given[0] : { port: given[0], host: given[1] };
    if (options === null || options.path || options.port == null || !isHere(options.host)) return connect.apply(this, args);
    const place = placeOf(Number(options.port));
    if (place === null) return connect.apply(this, args);
    const instead = { ...options, host: undefined, ...place };
    if (isNormal) args[0][0] = instead;
    else args = [instead, ...args.filter((arg) => typeof arg === 'function').slice(-1)];
    return connect.apply(this, args);
  };
}

function isHere(host) {
  return host == null || typeof host !== 'string' || host === '::' || host === '0.0.0.0' || isLoopback(host);
}

let known = { size: 0, lines: [] };

// Where the port is of this instance's processes, if it has been moved.
function placeOf(port) {
  const fs = require('node:fs');
  const file = `${folder}/ports`;
  try {
    const { size } = fs.statSync(file);
    if (size !== known.size) {
      const lines = fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
      known = { size, lines };
    }
  } catch { return null; }
  const last = known.lines.findLast((line) => String(line.port) === String(port) && isAlive(line.pid));
  if (!last) return null;
  if (last.at.startsWith('/')) return { path: last.at, port: undefined };
  const colon = last.at.lastIndexOf(':');
  const to = Number(last.at.slice(colon + 1));
  return to === port ? null : { port: to, host: last.at.slice(0, colon) };
}

// Calls `otherwise` instead of telling the app that the address is in use. Nothing else is kept from it.
function ifInUse(server, otherwise) {
  const { emit } = server;
  const had = Object.hasOwn(server, 'emit');
  server.emit = function (event, ...rest) {
    if (event === 'listening' || event === 'error' || event === 'close') {
      if (had) server.emit = emit; else delete server.emit;
      if (event === 'error' && rest[0]?.code === 'EADDRINUSE') {
        otherwise();
        return true;
      }
    }
    return emit.call(this, event, ...rest);
  };
}

// Says where a listen went, once it has. One that fails, or that is closed before it is told of, went nowhere, and what
// the server listens on after it is no business of this.
function tellMoved(server, port, why) {
  const listening = () => {
    forget();
    const at = server.address();
    if (typeof at === 'object' && at !== null) moved(`${at.address}:${at.port}`, port, why);
  };
  // Whoever listens to `error` itself would keep Node.js from ending an app that does not.
  const ends = [errorMonitor, 'close'];
  const forget = () => {
    server.off('listening', listening);
    for (const end of ends) server.off(end, forget);
  };
  server.once('listening', listening);
  for (const end of ends) server.once(end, forget);
}

function moved(to, port, why) {
  const line = `tidelock: port ${port} ${why}; this instance listens on ${to} instead of it\n`;
  // Whoever reads the log has to know, and a log that cannot be written is no reason to stop an app.
  try { require('node:fs').writeSync(2, line); } catch { /* See above. */ }
}
