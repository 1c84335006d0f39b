// Yjs's own WebSocket server, whose documents are in memory.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { WebSocketServer } from "ws";

// Yjs is loaded as its server loads it.
const { setupWSConnection } = createRequire(import.meta.url)("y-websocket/bin/utils");
const server = createServer();
new WebSocketServer({ server }).on("connection", setupWSConnection);
server.listen(Number(process.env.PORT), process.env.HOST);
