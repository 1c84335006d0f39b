// A plain Socket.IO node, written as its documentation does it: it knows nothing of any proxy.
//
//   PORT=0 NODE_NAME=a node node.mjs       prints `listening on 127.0.0.1:PORT` once it is ready,
//                                          and `session closed: SID REASON` for each session that ends
//
// PORT (0 picks one), HOST, NODE_NAME, PING_INTERVAL and PING_TIMEOUT (ms), PER_MESSAGE_DEFLATE (the threshold in
// bytes), COOKIE (the name of Engine.IO's cookie), ODD_IDS=1 (give sessions ids of the app's own making), LIFELINE=1 (end when stdin closes), LOG_POLLS=1 (print `poll: SID`
// for each poll that came), CLOSE_ON_SIGINT=1 (end the sessions and running requests first), DELAY (ms before each
// plain answer), SOCKET_PATH (the path of Engine.IO, if it is another).
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { Server } from "socket.io";
import { plainHttp } from "./plain.mjs";

const env = process.env;
const name = env.NODE_NAME ?? "node";
const options = { allowEIO3: true, cors: { origin: true, credentials: true } };
if (env.PING_INTERVAL) options.pingInterval = Number(env.PING_INTERVAL);
if (env.PING_TIMEOUT) options.pingTimeout = Number(env.PING_TIMEOUT);
if (env.PER_MESSAGE_DEFLATE) options.perMessageDeflate = { threshold: Number(env.PER_MESSAGE_DEFLATE) };
if (env.SOCKET_PATH) options.path = env.SOCKET_PATH;
if (env.COOKIE) options.cookie = { name: env.COOKIE };

const sessions = { opened: 0, opened_ms: [], closed: [] };
const plain = plainHttp(name, () => ({ sessions: io.engine.clientsCount, ...sessions }));
const delay = Number(env.DELAY ?? 0);
const server = createServer(delay ? (...exchange) => setTimeout(plain, delay, ...exchange) : plain);
const io = new Server(server, options);

if (env.ODD_IDS === "1") {
  const odd = [
    (id) => `user:42:${id}`,
    (id) => `${id}+/+/+/+=`,
    (id) => `${id}==`,
    (id) => id.repeat(7).slice(0, 130),
    (id) => `${id} "é" \\ & = ? #`,
  ];
  io.engine.generateId = () => odd[sessions.opened % odd.length](randomBytes(15).toString("base64"));
}

io.engine.on("connection", (connection) => {
  sessions.opened += 1;
  sessions.opened_ms.push(performance.now());
  connection.on("close", (reason) => {
    sessions.closed.push({ sid: connection.id, reason });
    console.log(`session closed: ${connection.id} ${reason}`);
  });
});

if (env.LOG_POLLS === "1") {
  server.prependListener("request", (request) => {
    const { searchParams } = new URL(request.url, "http://node");
    // Engine.IO takes the poll before this turn of the event loop ends: whoever has read the line finds it pending.
    if (request.method === "GET" && searchParams.has("sid")) console.log(`poll: ${searchParams.get("sid")}`);
  });
}

io.on("connection", (socket) => {
  socket.on("echo", (...args) => {
    const answer = args.pop();
    answer(...args);
  });
  socket.on("who", (answer) => {
    answer({
      node: name,
      pid: process.pid,
      transport: socket.conn.transport.name,
      headers: socket.handshake.headers,
      address: socket.handshake.address,
      sid: socket.conn.id,
    });
  });
});

// A test that is killed cannot clean up; the pipe it held closes all the same.
if (env.LIFELINE === "1") process.stdin.on("end", () => process.exit(0)).resume();

if (env.CLOSE_ON_SIGINT === "1") {
  process.once("SIGINT", () => {
    // Node.js closes idle connections by itself; one that always has a request would keep the node from its end.
    server.prependListener("request", (_request, response) => response.setHeader("connection", "close"));
    io.close(() => process.exit(0));
  });
}

server.listen(Number(env.PORT ?? 3000), env.HOST ?? "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
