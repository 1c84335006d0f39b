// An app with a login that it keeps in its process, as express-session's documentation does it, and Socket.IO's
// documentation beside it (`io.engine.use`). It knows nothing of any proxy.
//
//   PORT=0 NODE_NAME=a node login.mjs      prints `listening on 127.0.0.1:PORT` once it is ready
//
// POST /login?user=NAME logs in, GET /me says who is logged in, GET / is a page without a session. GET /set?name=N&value=V
// sets a cookie of that name, for PATH if it says &path=PATH, without a value it takes it away; GET /cookies says which cookies
// have come. GET /hold prints `held` and never answers, GET /fail answers 500. ROLLING=1 sets the session's cookie with each answer, for an hour. LIFELINE=1 ends it when stdin closes.
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
app.get("/set", ({ query: { name: own, value, path } }, response) => {
  if (value) response.cookie(own, value, path ? { path } : {});
  else response.clearCookie(own);
  response.json({ node: name });
});
app.get("/hold", () => console.log("held"));
app.get("/fail", (_request, response) => response.status(500).json({ node: name }));
app.get("/cookies", (request, response) => response.json({ node: name, cookies: request.headers.cookie ?? null }));
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
