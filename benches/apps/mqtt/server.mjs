// aedes, a broker in memory, over WebSocket.
import { createServer } from "node:http";
import * as aedes from "aedes";
import { WebSocketServer, createWebSocketStream } from "ws";

const broker = await aedes.Aedes.createBroker();
const server = createServer();
new WebSocketServer({ server }).on("connection", (client, request) => broker.handle(createWebSocketStream(client), request));
server.listen(Number(process.env.PORT), process.env.HOST);
