// The same in CommonJS. SOCKET_IO is where Socket.IO is, if it is another version than usual.
const { createServer } = require("node:http");
const { Server } = require(process.env.SOCKET_IO || "socket.io");
const talk = require("./talk.cjs");

const server = createServer();
talk(new Server(server, { maxHttpBufferSize: 1e8 }));
server.listen(3000);
