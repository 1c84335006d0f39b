// A chat with rooms, as the tutorials write it. It knows nothing of tidelock, and nothing here has to change for it:
// the port is fixed, there are no cookies, and polling comes before WebSocket.
const http = require("http");
const { Server } = require("socket.io");

const node = process.env.NODE_NAME || `pid-${process.pid}`;

const server = http.createServer((req, res) => {
  if (req.url === "/health") return res.end("ok");
  if (req.url === "/sessions") {
    res.setHeader("content-type", "application/json");
    return res.end(JSON.stringify({ node, sessions: io.engine.clientsCount }));
  }
  res.setHeader("content-type", "text/html; charset=utf-8");
  res.end(page);
});

const io = new Server(server);

io.on("connection", (socket) => {
  socket.on("join", async ({ room, name }) => {
    await leave(socket);
    socket.data = { room: String(room), name: String(name) };
    await socket.join(chatRoom(socket.data.room));
    await announce(socket.data.room);
  });

  socket.on("leave", () => leave(socket));

  socket.on("message", ({ room, text }) => {
    if (room !== socket.data.room) return;
    io.to(chatRoom(room)).emit("message", { room, name: socket.data.name, text: String(text), node, at: Date.now() });
  });

  socket.on("who", (answer) => {
    answer({ node, transport: socket.conn.transport.name, headers: socket.handshake.headers });
  });

  socket.on("echo", (...args) => {
    const answer = args.pop();
    answer(...args);
  });

  socket.on("disconnect", () => leave(socket));
});

// The prefix keeps people out of the rooms that are named by a socket's id.
const chatRoom = (room) => `chat:${room}`;

async function leave(socket) {
  const { room } = socket.data;
  if (!room) return;
  socket.data = {};
  await socket.leave(chatRoom(room));
  await announce(room);
}

async function announce(room) {
  const sockets = await io.in(chatRoom(room)).fetchSockets();
  io.to(chatRoom(room)).emit("members", { room, names: sockets.map((socket) => socket.data.name).sort() });
}

const page = `<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Chat</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }</style>
<h1>Chat</h1>
<p id="status">connecting…</p>
<ul id="messages" aria-live="polite"></ul>
<form><input id="text" aria-label="Message" autocomplete="off"><button>Send</button></form>
<script src="/socket.io/socket.io.js"></script>
<script>
  const socket = io();
  const query = new URLSearchParams(location.search);
  const room = query.get("room") || "lobby";
  const name = query.get("name") || "someone";
  socket.on("connect", () => {
    socket.emit("join", { room, name });
    socket.emit("who", (who) => { status(who.node); });
  });
  socket.on("disconnect", () => { document.getElementById("status").textContent = "connection lost"; });
  socket.on("message", ({ name, text, node }) => {
    const item = document.createElement("li");
    item.textContent = name + " (" + node + "): " + text;
    document.getElementById("messages").append(item);
  });
  document.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = document.getElementById("text");
    if (input.value) socket.emit("message", { room, text: input.value });
    input.value = "";
  });
  function status(node) {
    document.getElementById("status").textContent = name + " in " + room + ", on " + node;
  }
</script>
`;

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
  server.listen(3000);
}

main();
