// A Socket.IO app with rooms, as Socket.IO's documentation has it for PM2: it leaves it to its parent to listen. On
// @socket.io/cluster-adapter 0.2, which takes part as a worker of a cluster.
const { createServer } = require("node:http");
const { createAdapter } = require("cluster-adapter-v02");
const { setupWorker } = require("@socket.io/sticky");
const { Server } = require("socket.io");
const talk = require("./talk.cjs");

const server = createServer();
const io = new Server(server, { maxHttpBufferSize: 1e8 });
io.adapter(createAdapter());
setupWorker(io);
talk(io);
