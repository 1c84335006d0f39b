// A Socket.IO app with rooms, as an ES module, without an adapter. RECOVERY=1 turns connection state recovery on.
import { createServer } from "node:http";
import { Server } from "socket.io";
import talk from "./talk.cjs";

const server = createServer();
const options = process.env.RECOVERY ? { connectionStateRecovery: {} } : {};
talk(new Server(server, { maxHttpBufferSize: 1e8, ...options }));
server.listen(3000);
