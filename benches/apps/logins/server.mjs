// An app with logins, as the documentation of express-session, passport and cookie-session has it, and Socket.IO beside
// it. KIND says which. It knows nothing of any proxy.
import { createServer } from "node:http";
import express from "express";
import session from "express-session";
import cookieSession from "cookie-session";
import passport from "passport";
import { Strategy } from "passport-local";
import { Server } from "socket.io";

const { KIND: kind, PORT: port = "3000" } = process.env;
const node = process.env.NODE_NAME ?? String(process.pid);
const app = express();
const server = createServer(app);
const io = new Server(server);

const rolling = kind === "rolling" ? { rolling: true, cookie: { maxAge: 3_600_000 } } : {};
// Whoever takes the login from the socket has the session begin there.
const sessions = kind === "cookie-session"
  ? cookieSession({ name: "session", keys: ["keyboard cat"] })
  : session({ secret: "keyboard cat", resave: false, saveUninitialized: kind === "engine", ...rolling });

app.get("/", (_request, response) => response.send("a page without a session"));
app.get("/page", (_request, response) => response.send(PAGE));
app.use(sessions);

if (kind === "passport") {
  passport.use(new Strategy((name, password, done) => done(null, password === "secret" && { name })));
  passport.serializeUser((user, done) => done(null, user.name));
  passport.deserializeUser((name, done) => done(null, { name }));
  app.use(passport.session());
  const names = (request, _response, next) => { request.body = { username: request.query.user, password: "secret" }; next(); };
  app.post("/login", names, passport.authenticate("local"), (request, response) => response.json({ node, user: request.user.name }));
  app.get("/me", (request, response) => response.json({ node, user: request.user?.name ?? null }));
} else {
  app.post("/login", (request, response) => {
    request.session.user = request.query.user;
    response.json({ node, user: request.session.user });
  });
  app.get("/me", (request, response) => response.json({ node, user: request.session.user ?? null }));
}

if (kind === "cookie-session") {
  // It writes its cookie when the answer's head is written, which a socket's request never does.
  io.use((socket, next) => sessions(socket.request, { getHeader() {}, setHeader() {}, on() {}, writeHead() {} }, next));
} else {
  io.engine.use(sessions);
  if (kind === "passport") io.engine.use(passport.session());
}
io.on("connection", (socket) => {
  const user = () => socket.request.user?.name ?? socket.request.session?.user ?? null;
  socket.emit("me", { node, user: user() });
  socket.on("login", (name, done) => {
    socket.request.session.user = name;
    socket.request.session.save(() => done({ node, user: name }));
  });
});

server.listen(Number(port), process.env.HOST);

const PAGE = `<!doctype html><title>a login</title><p id=page></p><p id=socket></p>
<script src="/socket.io/socket.io.js"></script><script>
const show = (id, seen) => document.getElementById(id).textContent = JSON.stringify(seen);
window.login = async (user) => {
  await fetch("/login?user=" + user, { method: "POST" });
  show("page", await (await fetch("/me")).json());
  io().on("me", (seen) => show("socket", seen));
};
window.loginInSocket = async (user) => {
  const socket = io({ forceNew: true });
  await new Promise((done) => socket.emit("login", user, done));
  socket.close();
  show("page", await (await fetch("/me")).json());
  io({ forceNew: true }).on("me", (seen) => show("socket", seen));
};
</script>`;
