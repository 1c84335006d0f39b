// Behind `messages.cjs`, in the same function. Looks at how the app's Socket.IO shares its rooms with the other instances, and
// tells tidelock, which says so in `status`. With `fanout`, an app without an adapter gets one: that which Socket.IO has
// in memory by default is put on top of Socket.IO's own ClusterAdapter, and its messages go the way of all messages here.
//
// Nothing of this reaches a Socket.IO that a bundler has made a part of the app, since that is loaded by nobody.

const FANOUT = '_tidelock';
// What Socket.IO itself keeps rooms in, and by what it was replaced.
const inMemory = new Set();
const clustered = new WeakMap();
// Adapters of ours that live.
const hearing = new Set();
let whyNot = 'the app has no adapter';
let roomsTold = null;

// ES modules that import a CommonJS package come by here too.
function watchModules() {
  const Module = require('node:module');
  const { _load } = Module;
  const seen = new WeakSet();
  // Socket.IO's own files that are being loaded.
  const loading = new Set();
  Module._load = function (request, parent, ...rest) {
    const exports = _load.call(this, request, parent, ...rest);
    for (const module of loading) {
      if (!module.loaded) continue;
      loading.delete(module);
      const prototype = module.exports.Server?.prototype;
      if (typeof prototype?.adapter === 'function') watchServer(prototype);
    }
    if (request === 'socket.io-adapter' && isSocketIo(parent?.filename)) {
      if (!parent.loaded) loading.add(parent);
      return adapterFor(exports, parent);
    }
    if (/@socket\.io[\\/]sticky/.test(request) && typeof exports?.setupWorker === 'function' && !seen.has(exports)) {
      seen.add(exports);
      replaceSetupWorker(exports);
    }
    return exports;
  };
}

function isSocketIo(file) {
  if (typeof file !== 'string') return false;
  try {
    return require(join(dirname(file), '..', 'package.json')).name === 'socket.io';
  } catch {
    return false;
  }
}

// What Socket.IO gets for `socket.io-adapter`. Packages that build on it get it as it is.
function adapterFor(exports, parent) {
  const { Adapter = exports, SessionAwareAdapter, ClusterAdapterWithHeartbeat } = exports;
  inMemory.add(Adapter).add(SessionAwareAdapter);
  if (fanout !== 'fanout') return exports;
  if (typeof ClusterAdapterWithHeartbeat !== 'function') {
    whyNot = `${versionOf(parent, 'socket.io-adapter')} has no ClusterAdapter, which Socket.IO 4.6 to 4.8 get with socket.io-adapter 2.5.3 or later`;
    return exports;
  }
  if (!clustered.has(exports)) {
    const ours = clusterOf(ClusterAdapterWithHeartbeat);
    clustered.set(exports, { ...exports, Adapter: ours, ...(SessionAwareAdapter && { SessionAwareAdapter: ours }) });
  }
  return clustered.get(exports);
}

function versionOf(parent, name) {
  try {
    return `${name} ${parent.require(`${name}/package.json`).version}`;
  } catch {
    return name;
  }
}

function clusterOf(ClusterAdapterWithHeartbeat) {
  return class TidelockAdapter extends ClusterAdapterWithHeartbeat {
    constructor(nsp) {
      super(nsp, {});
      this.cleanupTimer.unref();
      hearing.add(this);
      // The app may put its own in the place of it at once.
      setImmediate(() => nsp.adapter === this ? this.init() : this.close());
    }

    doPublish(message) {
      const error = publish(Object.assign(message, { source: FANOUT }));
      return error ? Promise.reject(error) : Promise.resolve('');
    }

    doPublishResponse(requesterUid, response) {
      return this.doPublish(Object.assign(response, { requesterUid }));
    }

    // A process that has closed its servers ends.
    scheduleHeartbeat() {
      super.scheduleHeartbeat();
      this.heartbeatTimer?.unref();
    }

    // There is nothing from which a session could be recovered.
    addOffsetIfNecessary() {}

    close() {
      super.close();
      hearing.delete(this);
    }
  };
}

function hear(message) {
  for (const adapter of hearing) {
    if (message.nsp === adapter.nsp.name && adapter.nsp.adapter === adapter) adapter.onMessage(message);
  }
}

// Each time that a server gets an adapter, it is told what that comes to.
function watchServer(prototype) {
  const { adapter } = prototype;
  prototype.adapter = function (...args) {
    const result = adapter.apply(this, args);
    if (args[0]) setImmediate(tellRooms, this);
    return result;
  };
}

function tellRooms(server) {
  const used = server.sockets?.adapter;
  if (!used) return;
  const isSplit = inMemory.has(used.constructor);
  const isRecovering = hearing.has(used) && server.opts?.connectionStateRecovery;
  const why = isSplit ? whyNot : isRecovering ? 'connection state recovery is off' : '';
  roomsTold = Buffer.from(JSON.stringify({ is_split: isSplit, why }));
  sendFrame(ROOMS, 0, roomsTold);
}

// Another tidelock has not heard it.
function tellRoomsAgain() {
  if (roomsTold) sendFrame(ROOMS, 0, roomsTold);
}

// @socket.io/sticky expects a primary that listens and hands connections to its workers. tidelock is in front of each
// instance, so that the instance listens itself, at PORT, if it does not at a port of its own.
function replaceSetupWorker(sticky) {
  const { setupWorker } = sticky;
  if (typeof setupWorker !== 'function' || require('node:cluster').isWorker) return;
  sticky.setupWorker = (io) => {
    const server = io.httpServer;
    if (!server) return;
    const { listen } = server;
    let isOurs = false;
    server.listen = function (...args) {
      server.listen = listen;
      if (isOurs) server.close();
      return listen.apply(this, args);
    };
    setImmediate(() => {
      if (server.listen === listen || server.listening) return;
      isOurs = true;
      const { PORT } = process.env;
      listen.call(server, /^\d+$/.test(PORT) ? { port: Number(PORT), host: '127.0.0.1' } : PORT);
    });
  };
}
