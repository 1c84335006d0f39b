// Socket.IO 2 or 4, as its documentation begins: `say` is acknowledged.
import { createServer } from "node:http";

const { Server } = process.env.KIND === "2" ? { Server: (await import("socket.io-v2")).default } : await import("socket.io");
const server = createServer();
new Server(server).on("connection", (socket) => socket.on("say", (number, done) => done(number)));
server.listen(Number(process.env.PORT), process.env.HOST);
