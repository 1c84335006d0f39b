// An app with a login that it keeps in its process, as express-session's documentation does it, and Socket.IO's
// documentation beside it (`io.engine.use`). It knows nothing of any proxy.
//
//   PORT=0 NODE_NAME=a node login.mjs      prints `listening on 127.0.0.1:PORT` once it is ready
//
// POST /login?user=NAME logs in, GET /me says who is logged in, GET / is a page without a session. ROLLING=1 sets the
// cookie with each answer, for an hour. LIFELINE=1 ends it when stdin closes.
import { createServer } from "node:http";
import express from "express";
import session from "express-session";
import { Server } from "socket.io";

const { env } = process;
const name = env.NODE_NAME ?? "node";
const app = express();
const server = createServer(app);
const rolling = env.ROLLING === "1" ? { rolling: true, cookie: { maxAge: 3_600_000 } } : {};
const sessions = session({ secret: "keyboard cat", resave: false, saveUninitialized: false, ...rolling });

app.get("/", (_request, response) => response.send(name));
app.use(sessions);
app.post("/login", (request, response) => {
  request.session.user = request.query.user;
  response.json({ node: name, user: request.session.user });
});
app.get("/me", (request, response) => response.json({ node: name, user: request.session.user ?? null }));

const io = new Server(server);
io.engine.use(sessions);
io.on("connection", (socket) => socket.emit("me", { node: name, user: socket.request.session.user ?? null }));

if (env.LIFELINE === "1") process.stdin.on("end", () => process.exit(0)).resume();
server.listen(Number(env.PORT ?? 0), env.HOST ?? "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
