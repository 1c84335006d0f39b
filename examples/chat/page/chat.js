// The page of the chat: one socket, one room. Loaded after socket.io.min.js, which defines `io`.

const element = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const HUES = 12;
const NEAR_END_PX = 80;

const socket = io({
  // The usual order, and the one that needs stickiness: polls first, then an upgrade. `?transport=` narrows it.
  transports: query.has("transport") ? [query.get("transport")] : ["polling", "websocket"],
});
/** The room this page is in, as `{room, name}`; null until somebody has joined. */
let here = null;
let connects = 0;

// ---- the connection -------------------------------------------------------------------------------------------

socket.on("connect", () => {
  connects += 1;
  element("reconnects").textContent = connects - 1;
  socket.emit("who", showNode);
  // A new session is in no room yet, whether the node is the same or another.
  if (here) socket.emit("join", here);
});

socket.io.on("open", () => {
  const engine = socket.io.engine;
  const first = engine.transport.name;
  showTransport(first);
  engine.on("upgrading", () => showTransport(`${first} → websocket…`));
  engine.on("upgrade", (transport) => showTransport(`${first} → ${transport.name}`));
  engine.on("upgradeError", () => showTransport(`${first} (no upgrade)`));
});

socket.on("disconnect", (reason) => {
  showStatus("lost", `connection lost (${reason}), coming back…`);
  element("node").textContent = "–";
});

socket.on("connect_error", () => showStatus("lost", "no answer yet, trying again…"));

function showNode({ node, headers }) {
  element("node").replaceChildren(badge(node));
  element("seen").textContent = headers["x-forwarded-for"] ?? headers["x-real-ip"] ?? "–";
  showStatus("connected", `connected to ${node}`);
}

function showTransport(text) {
  element("transport").textContent = text;
}

function showStatus(state, text) {
  element("status").dataset.state = state;
  element("status-text").textContent = text;
}

// ---- the room -------------------------------------------------------------------------------------------------

element("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, room } = Object.fromEntries(new FormData(event.target));
  enter({ name: name.trim() || "someone", room: room.trim() || "lobby" });
});

element("leave").addEventListener("click", () => {
  socket.emit("leave");
  here = null;
  element("chat").hidden = true;
  element("join").hidden = false;
  element("name").focus();
});

element("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("text").value.trim();
  if (!text || !socket.connected) return;
  socket.emit("message", { room: here.room, text });
  element("text").value = "";
});

socket.on("members", ({ room, names }) => {
  if (room !== here?.room) return;
  element("people-count").textContent = names.length;
  element("members").replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.append(initial(name), name);
    return item;
  }));
});

socket.on("message", ({ room, name, text, node, at }) => {
  if (room !== here?.room) return;
  const log = element("messages");
  const following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
  const item = element("message-template").content.firstElementChild.cloneNode(true);
  item.classList.toggle("mine", name === here.name);
  item.querySelector(".name").textContent = name;
  item.querySelector(".text").textContent = text;
  const time = item.querySelector("time");
  time.dateTime = new Date(at).toISOString();
  time.textContent = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.querySelector(".node").replaceWith(badge(node, `delivered by ${node}`));
  log.append(item);
  element("empty").hidden = true;
  if (following) log.scrollTop = log.scrollHeight;
});

function enter(room) {
  here = room;
  history.replaceState(null, "", `?${new URLSearchParams({ ...Object.fromEntries(query), ...room })}`);
  document.title = `${room.room} · Tidelock chat`;
  element("room-title").textContent = room.room;
  element("messages").replaceChildren();
  element("empty").hidden = false;
  element("join").hidden = true;
  element("chat").hidden = false;
  element("text").focus();
  if (socket.connected) socket.emit("join", room);
}

// ---- looks ----------------------------------------------------------------------------------------------------

/** The name of a node, always in the same colour. */
function badge(node, title = node) {
  const span = document.createElement("span");
  span.className = "node";
  span.textContent = node;
  span.title = title;
  span.dataset.hue = hue(node);
  return span;
}

function initial(name) {
  const span = document.createElement("span");
  span.className = "initial";
  span.setAttribute("aria-hidden", "true");
  span.textContent = [...name][0]?.toUpperCase() ?? "?";
  span.dataset.hue = hue(name);
  return span;
}

/** Neighbouring names such as node-1 and node-2 get hues far apart. */
function hue(text) {
  let sum = 0;
  for (const char of text) sum = (sum * 31 + char.codePointAt(0)) % 9973;
  return (sum * 5) % HUES;
}

if (matchMedia("(max-width: 45rem)").matches) element("people").open = false;
if (query.get("room")) element("room").value = query.get("room");
if (query.get("name")) element("name").value = query.get("name");
if (query.get("room") && query.get("name")) enter({ name: query.get("name"), room: query.get("room") });
else element("name").focus();
