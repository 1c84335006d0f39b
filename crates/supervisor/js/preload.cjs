// Tidelock loads this into every Node.js process of an app, before the app's own code: `--require` in NODE_OPTIONS,
// which CommonJS and ES modules obey alike. It makes the app listen where tidelock wants it, whatever port is written
// in its code, by standing in front of `net.Server.prototype.listen`, through which http, https, http2, express and
// fastify all go.
//
// Which listen it is: the one on TIDELOCK_PORT if that is set, or else the first on any port but 0. The main thread
// of the first process that comes to it has it; a file in the instance's folder decides between processes. What else
// that process listens on stays where it is in the first instance, and goes to a free port of loopback in the others,
// since two cannot have the same. Worker threads, other processes, Unix sockets and port 0 are left alone.
//
// `server.address()` tells where the server really listens.
'use strict';

const { errorMonitor } = require('node:events');
const { isMainThread } = require('node:worker_threads');
const net = require('node:net');

const { TIDELOCK_FOLDER: folder, TIDELOCK_PORT: named, PORT: told, NODE_APP_INSTANCE: slot } = process.env;
const loaded = Symbol.for('tidelock.preload');

if (isMainThread && folder && told && !net.Server[loaded]) {
  net.Server[loaded] = true;
  standInFront();
}

function standInFront() {
  const listen = net.Server.prototype.listen;
  // The server that was redirected, until it is closed.
  let ours = null;

  net.Server.prototype.listen = function (...args) {
    const wish = wishOf(args);
    if (wish === null) return listen.apply(this, args);
    const { options, callback } = wish;
    const go = (changed) => listen.call(this, { ...withoutAddress(options), ...changed }, ...callback);

    const holder = claim(wish.port);
    if (holder === 'other') return listen.apply(this, args);
    if (holder === 'this') {
      if (ours === null || ours === this) {
        ours = this;
        this.once('close', () => { if (ours === this) ours = null; });
        return go(toldOptions());
      }
      // The same port on another address, such as ::1 beside 127.0.0.1.
      return isPort(told) ? go({ port: Number(told), host: options.host }) : listen.apply(this, args);
    }
    // Fastify gives the port that it got to the servers for the other addresses of `localhost`.
    if (String(wish.port) === told) return listen.apply(this, args);
    if (Number(slot) > 0) {
      tellMoved(this, wish.port, 'belongs to the first instance');
      return go(free);
    }
    // While the first instance is being replaced, the old one still has the port.
    ifInUse(this, () => {
      tellMoved(this, wish.port, 'is in use');
      listen.call(this, { ...withoutAddress(options), ...free });
    });
    return listen.apply(this, args);
  };
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

function isPort(text) {
  return /^\d+$/.test(text);
}

// Whose the listen on `port` is: 'this' process may listen where it was told, an'other' process of the instance has
// done so already and this one is a helper of it, or 'nobody' as far as this port goes.
function claim(port) {
  const fs = require('node:fs');
  const lock = `${folder}/listens`;
  const isIt = !named || port === Number(named) || String(port) === told;
  for (let attempt = 0; attempt < 3; attempt++) {
    const held = read(fs, lock);
    if (held !== null) {
      // All workers of a cluster share one port, through their primary.
      const isShared = held.pid === process.pid || require('node:cluster').isWorker;
      if (isShared) return held.port === port ? 'this' : 'nobody';
      if (isAlive(held.pid)) return 'other';
      // Whoever held it was replaced within the instance, as nodemon does.
      try { fs.unlinkSync(lock); } catch { /* Another one was faster. */ }
    }
    if (!isIt) return 'nobody';
    // It comes to be in one step and whole, and only once.
    const own = `${lock}-${process.pid}`;
    try {
      fs.writeFileSync(own, JSON.stringify({ pid: process.pid, port }), { mode: 0o600 });
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
