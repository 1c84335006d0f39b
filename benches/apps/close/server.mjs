// WebSockets for the clients of ten libraries. POST /cut ends their TCP connections without a Close.
import { createServer } from "node:http";
import { buildSchema } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { Server } from "socket.io";
import { WebSocketServer } from "ws";

const sockets = new Set();
const server = createServer((request, response) => {
  if (request.url === "/cut") for (const socket of sockets) socket.destroy();
  response.end();
});
const plain = new WebSocketServer({ noServer: true });
const graphql = new WebSocketServer({ noServer: true });
useServer({ schema: buildSchema("type Query { a: Int }") }, graphql);
new Server(server, { destroyUpgrade: false });
server.on("upgrade", (request, socket, head) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket)).on("error", () => {});
  const which = { "/ws": plain, "/graphql": graphql }[request.url];
  which?.handleUpgrade(request, socket, head, (client) => which.emit("connection", client, request));
});
server.listen(Number(process.env.PORT), process.env.HOST);
