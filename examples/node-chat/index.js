// A chat with rooms, as the tutorials write it. It knows nothing of tidelock, and nothing here has to change for it:
// the port is fixed, there are no cookies, and polling comes before WebSocket.
const fs = require("fs");
const http = require("http");
const path = require("path");
const { Server } = require("socket.io");

const node = process.env.NODE_NAME || `pid-${process.pid}`;

const server = http.createServer((req, res) => {
  const [pathname] = req.url.split("?");
  if (pathname === "/health") return res.end("ok");
  if (pathname === "/sessions") {
    res.setHeader("content-type", "application/json");
    return res.end(JSON.stringify({ node, sessions: io.engine.clientsCount }));
  }
  const [file, type] = files[pathname] || [];
  if (!file) return res.writeHead(404).end();
  res.writeHead(200, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-cache" });
  fs.createReadStream(path.join(page, file)).pipe(res);
});

// The page is the same on every node, in whichever language: a browser may get each file from another one.
const page = path.join(__dirname, "../chat/page");
const files = {
  "/": ["index.html", "text/html"],
  "/chat": ["index.html", "text/html"],
  "/page/chat.css": ["chat.css", "text/css"],
  "/page/chat.js": ["chat.js", "text/javascript"],
  "/page/socket.io.min.js": ["socket.io.min.js", "text/javascript"],
};

const io = new Server(server);

io.on("connection", (socket) => {
  socket.on("join", async ({ room, name }, done) => {
    socket.data.name = String(name);
    await socket.join(chatRoom(room));
    changed(chatRoom(room));
    done?.(true);
  });

  socket.on("leave", async (room) => {
    await socket.leave(chatRoom(room));
    changed(chatRoom(room));
  });

  socket.on("message", ({ room, id, text, picture }, done) => {
    if (!socket.rooms.has(chatRoom(room))) return done?.(false);
    const message = { room, id, name: socket.data.name, text: String(text), picture, node, at: Date.now() };
    // For whoever keeps messages for those who are away.
    if (id && process.env.REDIS_URL) io.serverSideEmit("said", { ...message, picture: undefined });
    io.to(chatRoom(room)).emit("message", message);
    done?.(true);
  });

  socket.on("who", (answer) => {
    answer({ node, pid: process.pid, transport: socket.conn.transport.name, headers: socket.handshake.headers });
  });

  socket.on("echo", (...args) => {
    const answer = args.pop();
    answer(...args);
  });

  socket.on("disconnecting", () => {
    const rooms = [...socket.rooms].filter((room) => room.startsWith("chat:"));
    socket.on("disconnect", () => rooms.forEach(changed));
  });
});

// The prefix keeps people out of the rooms that are named by a socket's id.
const chatRoom = (room) => `chat:${room}`;

// When a room changes on one node, every node tells its own sockets who is in it now.
function changed(room) {
  if (process.env.REDIS_URL) io.serverSideEmit("changed", room);
  tellMembers(room);
}
io.on("changed", tellMembers);

// One at a time: the list that is told last must be the one that was asked for last.
let told = Promise.resolve();
function tellMembers(room) {
  if (!io.of("/").adapter.rooms.has(room)) return;
  told = told.then(async () => {
    const sockets = await io.in(room).fetchSockets();
    const names = sockets.map((socket) => socket.data.name).sort();
    io.local.to(room).emit("members", { room: room.slice("chat:".length), names });
  }).catch((error) => console.error("members:", error.message));
}

// Several processes show each other's messages only through Redis; one alone does not need it.
async function main() {
  if (process.env.REDIS_URL) {
    const { createClient } = require("redis");
    const { createAdapter } = require("@socket.io/redis-adapter");
    const pub = createClient({ url: process.env.REDIS_URL });
    const sub = pub.duplicate();
    for (const client of [pub, sub]) client.on("error", (error) => console.error("redis:", error.message));
    await Promise.all([pub.connect(), sub.connect()]);
    io.adapter(createAdapter(pub, sub));
  }
  server.listen(process.env.PORT || 3000, process.env.HOST, () => {
    const { address, port } = server.address();
    console.log(`listening on ${address}:${port}`);
  });
}

main();
