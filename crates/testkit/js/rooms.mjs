// A Socket.IO app with rooms, as an ES module, on @socket.io/cluster-adapter 0.3. It listens on a port in its code.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/cluster-adapter";
import { Server } from "socket.io";
import talk from "./talk.cjs";

const server = createServer();
talk(new Server(server, { adapter: createAdapter(), maxHttpBufferSize: 1e8 }));
server.listen(3000);
