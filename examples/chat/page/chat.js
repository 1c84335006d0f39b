// The page of the chat: one socket, one room. Loaded after socket.io.min.js, which defines `io`.

const element = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const HUES = 12;
const NEAR_END_PX = 80;
/** A node takes a million bytes at once, and polling makes four of three. */
const PICTURE_BYTES_MAX = 700_000;

const socket = io({
  // The usual order, and the one that needs stickiness: polls first, then an upgrade. `?transport=` narrows it.
  transports: query.has("transport") ? [query.get("transport")] : ["polling", "websocket"],
});
/** The room this page is in, as `{room, name}`; null until somebody has joined. */
let here = null;
/** The node at the other end of the socket, which delivers what comes; null while that is not known. */
let connectedTo = null;
let connects = 0;
const log = element("messages");
const messages = log.querySelector("ol");
/** Whoever has scrolled up to read stays where they are. */
let isAtEnd = true;

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
  connectedTo = null;
});

socket.on("connect_error", () => showStatus("lost", "no answer yet, trying again…"));

function showNode({ node, headers }) {
  connectedTo = node;
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
  socket.emit("leave", here.room);
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

element("pick").addEventListener("click", () => element("picture").click());

element("picture").addEventListener("change", (event) => {
  sendPicture(event.target.files[0]);
  event.target.value = "";
});

element("text").addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (!file) return;
  event.preventDefault();
  sendPicture(file);
});

async function sendPicture(file) {
  if (!file?.type.startsWith("image/") || !socket.connected) return;
  if (file.size > PICTURE_BYTES_MAX) {
    return alert(`This picture is too large: ${Math.ceil(file.size / 1000)} kB of ${PICTURE_BYTES_MAX / 1000}.`);
  }
  socket.emit("message", { room: here.room, text: file.name, picture: await file.arrayBuffer() });
}

socket.on("members", ({ room, names }) => {
  if (room !== here?.room) return;
  element("people-count").textContent = names.length;
  element("members").replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.append(initial(name), name);
    return item;
  }));
});

socket.on("message", ({ room, name, text, picture, node, at }) => {
  if (room !== here?.room) return;
  const item = element("message-template").content.firstElementChild.cloneNode(true);
  item.classList.toggle("mine", name === here.name);
  item.querySelector(".name").textContent = name;
  item.querySelector(".text").textContent = text;
  const time = item.querySelector("time");
  time.dateTime = new Date(at).toISOString();
  time.textContent = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.querySelector(".way").replaceWith(way(node, connectedTo ?? node));
  if (picture) item.querySelector(".text").before(image(picture, text));
  messages.append(item);
  element("empty").hidden = true;
  follow();
});

log.addEventListener("scroll", () => {
  isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
});

// A keyboard on the screen takes half of it.
new ResizeObserver(follow).observe(log);

function follow() {
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function enter(room) {
  here = room;
  history.replaceState(null, "", `?${new URLSearchParams({ ...Object.fromEntries(query), ...room })}`);
  document.title = `${room.room} · Tidelock chat`;
  element("room-title").textContent = room.room;
  messages.replaceChildren();
  isAtEnd = true;
  element("empty").hidden = false;
  element("join").hidden = true;
  element("chat").hidden = false;
  element("text").focus();
  if (socket.connected) socket.emit("join", room);
}

// ---- looks ----------------------------------------------------------------------------------------------------

/** From the node that the sender is on to the one that delivered, which may be the same. */
function way(from, to) {
  const span = document.createElement("span");
  span.className = "way";
  span.title = `said on ${from}, delivered by ${to}`;
  span.append(badge(from), ...(from === to ? [] : [" → ", badge(to)]));
  return span;
}

/** The name of a node, always in the same colour. */
function badge(node) {
  const span = document.createElement("span");
  span.className = "node";
  span.textContent = node;
  span.dataset.hue = hue(node);
  return span;
}

function image(bytes, text) {
  const img = document.createElement("img");
  img.alt = text;
  // Without a type the browser looks at the bytes, and draws nothing that is no image.
  img.src = URL.createObjectURL(new Blob([bytes]));
  img.addEventListener("load", () => { URL.revokeObjectURL(img.src); follow(); });
  return img;
}

function initial(name) {
  const span = document.createElement("span");
  span.className = "initial";
  span.setAttribute("aria-hidden", "true");
  span.textContent = [...name][0]?.toUpperCase() ?? "?";
  span.dataset.hue = hue(name);
  return span;
}

/** Names that differ in one digit get hues far apart. */
function hue(text) {
  let sum = 0;
  for (const char of text) sum = (sum * 187 + char.codePointAt(0)) % 9973;
  return (sum * 7) % HUES;
}

if (matchMedia("(max-width: 45rem)").matches) element("people").open = false;
if (query.get("room")) element("room").value = query.get("room");
if (query.get("name")) element("name").value = query.get("name");
if (query.get("room") && query.get("name")) enter({ name: query.get("name"), room: query.get("room") });
else element("name").focus();
