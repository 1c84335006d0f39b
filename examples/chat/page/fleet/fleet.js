// The page of the demo: draws the fleet as tidelock's status has it, and the sessions as its own clients know them.

import { Guest } from "./guests.js";
import { Ledger } from "./ledger.js";
import { Lines } from "./lines.js";

const element = (id) => document.getElementById(id);
const ROOM = "lobby";
const TALK_MS = 650;
const MESSAGES_MAX = 80;
const LINES_MAX = 120;
const OTHERS_MAX = 16;
/** Another tab's sessions are those that the status has beyond ours for so many looks. */
const LOOKS = 4;
const LOOK_MS = 300;
/** To one host a browser opens six connections at once, and each poll takes one: so few begin with it, and fewer stay with it. */
const WAYS = {
  polling: ["polling"],
  usual: ["polling", "websocket"],
  websocket: ["websocket"],
};
const GUESTS = [
  ["Ada", WAYS.polling], ["Brian", WAYS.usual], ["Grace", WAYS.websocket], ["Ken", WAYS.polling],
  ["Linus", WAYS.usual], ["Margaret", WAYS.websocket], ["Radia", WAYS.websocket], ["Tim", WAYS.websocket],
];
const WORDS = [
  "The tide is coming in.", "Anybody at the pier?", "Two boats in sight.", "The ferry is late again.", "Low water at six.",
  "Who has the key to the boathouse?", "I do.", "Wind from the west.", "See you at the lighthouse.", "High water in an hour.",
  "The moon is up.", "It always shows the same face.", "Bring a lamp.", "Nobody noticed a thing.", "Still here.",
  "Same session, another process.", "Did you feel that?", "Feel what?", "All hands on deck.", "Tea?", "Yes, please.",
];

const tab = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(36)).join("");
const ledger = new Ledger();
const guests = [];
/** The fleet as it was last told. */
let fleet = { nodes: [] };
/** Requests that had failed before this page was opened. */
let failedBefore = null;
let messages = 0;

// ---- what tidelock says ---------------------------------------------------------------------------------------

const control = io({ path: "/fleet/live", transports: ["websocket"], reconnectionDelay: 500, reconnectionDelayMax: 2_000 });

control.on("connect", () => {
  element("link").dataset.state = "live";
  element("link-text").textContent = "live";
});
control.on("disconnect", () => {
  element("link").dataset.state = "lost";
  element("link-text").textContent = "the demo has ended, or does not answer";
});
control.on("fleet", (told) => {
  if (told.nodes.length === 0) return;
  fleet = told;
  failedBefore ??= told.failed;
  element("link-text").textContent = `live · version ${told.version}`;
  element("answered").textContent = told.answered.toLocaleString("en");
  drawNodes();
  drawFigures();
});
control.on("said", ({ kind, line }) => {
  const item = document.createElement("div");
  item.className = kind;
  item.textContent = line;
  append(element("console"), item, LINES_MAX);
});

async function fetchMissed(since) {
  try {
    return await control.timeout(5_000).emitWithAck("missed", { room: ROOM, since });
  } catch {
    return [];
  }
}

// ---- nodes ----------------------------------------------------------------------------------------------------

/** What the fleet shows of each node: its card, and a row for each of its processes. */
const cards = new Map();

function drawNodes() {
  const names = [...new Set(fleet.nodes.map((node) => node.name))];
  for (const name of names) {
    const card = cards.get(name) ?? makeCard(name);
    drawCard(card, fleet.nodes.filter((node) => node.name === name));
  }
  for (const [name, card] of cards) {
    if (names.includes(name)) continue;
    card.node.remove();
    cards.delete(name);
  }
  placeDots();
}

function makeCard(name) {
  const node = element("node-template").content.firstElementChild.cloneNode(true);
  const title = node.querySelector("h3");
  title.textContent = name;
  title.id = `node-${name.replace("/", "-")}`;
  node.setAttribute("aria-labelledby", title.id);
  for (const button of node.querySelectorAll("button")) {
    button.addEventListener("click", () => press(button.dataset.verb, name, button));
  }
  element("nodes").append(node);
  const card = { name, node, rows: new Map(), said: "" };
  cards.set(name, card);
  return card;
}

function drawCard(card, processes) {
  const newest = processes.reduce((one, other) => (other.generation > one.generation ? other : one));
  const isDraining = newest.draining && newest.state === "ready";
  const isRolling = processes.length > 1 || newest.state === "emptying";
  const sessions = sum(processes, "sessions");
  const sockets = sum(processes, "tunnels");
  const [state, mood] = look(newest, { isDraining, isRolling, sessions });
  const { node } = card;
  node.dataset.mood = mood;
  node.dataset.state = state;
  node.dataset.sessions = sessions;
  node.querySelector(".language").textContent = newest.language;
  node.querySelector(".state").textContent = state;
  node.querySelector(".carries").replaceChildren(
    bold(sessions), ` session${sessions === 1 ? "" : "s"}: ${sockets} WebSocket, ${Math.max(0, sessions - sockets)} polling`);
  const drain = node.querySelector("[data-verb$=drain]");
  drain.dataset.verb = isDraining ? "undrain" : "drain";
  drain.textContent = isDraining ? "Undrain" : "Drain";
  const takers = fleet.nodes.filter((other) => other.state === "ready" && !other.draining && other.name !== card.name);
  rest(drain, !isDraining && (isRolling || newest.state !== "ready" || takers.length === 0));
  rest(node.querySelector("[data-verb=roll]"), isRolling || newest.state !== "ready");
  rest(node.querySelector("[data-verb=kill]"), !newest.pid);
  for (const button of node.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent} ${card.name}`);
  drawProcesses(card, processes);
  if (card.said && card.said !== state) element("news").textContent = `${card.name}: ${state}`;
  card.said = state;
}

/** A word for a node, and whether all is well with it. */
function look(newest, { isDraining, isRolling, sessions }) {
  if (isRolling) return ["rolling", "wait"];
  if (isDraining) return sessions > 0 ? ["draining", "wait"] : ["drained", "wait"];
  if (newest.state === "ready") return ["ready", "good"];
  return [newest.state, newest.state === "starting" ? "wait" : "down"];
}

function drawProcesses(card, processes) {
  const list = card.node.querySelector(".processes");
  const here = processes.filter(({ pid }) => pid).sort((one, other) => one.generation - other.generation);
  for (const [pid, row] of card.rows) {
    if (here.some((process) => process.pid === pid)) continue;
    row.remove();
    card.rows.delete(pid);
  }
  for (const { pid, state, restarts } of here) {
    let row = card.rows.get(pid);
    if (!row) {
      row = element("process-template").content.firstElementChild.cloneNode(true);
      card.rows.set(pid, row);
      list.append(row);
    }
    const more = here.length > 1 || state !== "ready" ? ` · ${state}` : restarts ? ` · start ${restarts + 1}` : "";
    row.querySelector(".pid").textContent = `process ${pid}${more}`;
  }
}

/** A button that does nothing now. It keeps the focus, which one that is `disabled` would lose. */
function rest(button, isResting) {
  button.setAttribute("aria-disabled", isResting);
}

async function press(verb, node, button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  rest(button, true);
  control.emit("press", { verb, node }, () => drawNodes());
  // What follows is drawn when tidelock says so.
  setTimeout(drawNodes, 1_500);
}

// ---- sessions -------------------------------------------------------------------------------------------------

const told = { changed, message: showMessage, fetch: fetchMissed };
const lines = new Lines(element("lines"), element("proxy"), () => guests.map((guest) => ({
  key: guest.name, chip: guest.chip, dot: guest.dot.isConnected ? guest.dot : null,
  transport: guest.transport, state: guest.state, isYou: guest.isYou,
})));

function invite(name, transports, isYou) {
  const chip = element("guest-template").content.firstElementChild.cloneNode(true);
  chip.querySelector("b").textContent = name;
  const dot = document.createElement("li");
  for (const mark of [dot, chip.querySelector(".dot")]) {
    mark.className = isYou ? "dot you" : "dot";
    mark.textContent = name[0];
  }
  element("guests").append(chip);
  const guest = new Guest({ name, transports, room: ROOM, isYou }, ledger, told);
  Object.assign(guest, { chip, dot });
  guests.push(guest);
  changed(guest);
  return guest;
}

function changed(guest) {
  // Its constructor may say so before it is known here.
  if (!guest.chip) return;
  const { chip, state, transport, node } = guest;
  chip.dataset.state = state;
  for (const mark of [guest.dot, chip.querySelector(".dot")]) {
    mark.dataset.state = state;
    mark.dataset.transport = transport ?? "";
  }
  const shown = transport === "websocket" ? "WebSocket · " : `${transport} · `;
  chip.querySelector(".way").textContent = state === "here" ? shown : "";
  chip.querySelector(".at").textContent = { here: node, moving: "moving…", connecting: "connecting…" }[state];
  placeDots();
  drawFigures();
}

/** Puts each session's dot onto its process, from where it was. */
function placeDots() {
  for (const guest of guests) {
    const berths = guest.isHere ? rowOf(guest.pid)?.querySelector(".berths") : null;
    if (!berths) {
      if (guest.dot.isConnected) guest.dot.remove();
      continue;
    }
    if (guest.dot.parentElement === berths) continue;
    const from = (guest.dot.isConnected ? guest.dot : element("proxy")).getBoundingClientRect();
    berths.insertBefore(guest.dot, berths.querySelector(".other"));
    glide(guest.dot, from);
  }
  lines.follow();
}

function rowOf(pid) {
  for (const { rows } of cards.values()) if (rows.has(pid)) return rows.get(pid);
  return null;
}

function glide(dot, from) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const to = dot.getBoundingClientRect();
  const x = from.left + from.width / 2 - to.left - to.width / 2;
  const y = from.top + from.height / 2 - to.top - to.height / 2;
  dot.animate(
    [{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }],
    { duration: 650, easing: "cubic-bezier(.3, .9, .3, 1)" },
  );
}

/** For each process, how many sessions it had lately beyond ours. */
const beyond = new Map();

function countOthers() {
  for (const { pid, sessions } of fleet.nodes) {
    if (!pid) continue;
    const ours = guests.filter((guest) => guest.isHere && guest.pid === pid).length;
    const seen = [...(beyond.get(pid) ?? []), Math.max(0, sessions - ours)].slice(-LOOKS);
    beyond.set(pid, seen);
    const berths = rowOf(pid)?.querySelector(".berths");
    if (berths) drawOthers(berths, seen.length < LOOKS ? 0 : Math.min(...seen));
  }
}

function drawOthers(berths, count) {
  const others = berths.querySelectorAll(".other");
  for (const other of [...others].slice(Math.min(count, OTHERS_MAX))) other.remove();
  for (let index = others.length; index < Math.min(count, OTHERS_MAX); index += 1) {
    const other = document.createElement("li");
    other.className = "dot other";
    berths.append(other);
  }
}

// ---- what they say --------------------------------------------------------------------------------------------

const shown = new Set();

function showMessage(guest, message) {
  if (!guest.isYou) return;
  if (message.id && shown.has(message.id)) return;
  if (message.id) shown.add(message.id);
  const item = element("message-template").content.firstElementChild.cloneNode(true);
  item.classList.toggle("mine", message.name === you.name);
  item.querySelector(".name").textContent = message.name;
  item.querySelector(".text").textContent = message.text;
  item.querySelector(".via").textContent = message.node === guest.node ? message.node : `${message.node} → ${guest.node}`;
  append(element("messages"), item, MESSAGES_MAX);
  if (shown.size > 4_000) shown.clear();
}

function say(guest, text) {
  messages += 1;
  const id = `${tab}-${messages}`;
  ledger.say(id, guests.filter((other) => other.isMember).map((other) => other.name));
  guest.say(id, text);
  lines.pulse(guest.name);
}

function talk() {
  const isPaused = element("pause").getAttribute("aria-pressed") === "true";
  const here = guests.filter((guest) => guest.isHere && !guest.isYou);
  // A message is expected once by everybody, so that nobody begins before all have come.
  if (isPaused || document.hidden || here.length === 0 || !guests.every((guest) => guest.isMember)) return;
  say(here[Math.floor(Math.random() * here.length)], WORDS[Math.floor(Math.random() * WORDS.length)]);
}

element("pause").addEventListener("click", ({ target }) => {
  const isPaused = target.getAttribute("aria-pressed") !== "true";
  target.setAttribute("aria-pressed", isPaused);
});

element("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("text").value.trim();
  if (!text || !you.isHere) return;
  say(you, text);
  element("text").value = "";
});

// ---- figures --------------------------------------------------------------------------------------------------

function drawFigures() {
  const { said, arrived, fetched, lost, doubled } = ledger;
  const figures = {
    sessions: guests.filter((guest) => guest.isHere).length, moved: sum(guests, "moves"),
    said, arrived, fetched, lost, doubled, failed: Math.max(0, (fleet.failed ?? 0) - (failedBefore ?? 0)),
  };
  for (const [id, figure] of Object.entries(figures)) {
    const shownAs = figure.toLocaleString("en");
    if (element(id).textContent !== shownAs) element(id).textContent = shownAs;
    element(id).parentElement.classList.toggle("some", figure > 0);
  }
}

function sum(items, key) {
  return items.reduce((total, item) => total + item[key], 0);
}

function bold(text) {
  const b = document.createElement("b");
  b.textContent = text;
  return b;
}

/** Adds to a list, and follows it for whoever has not scrolled up. */
function append(list, item, most) {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.children.length > most) list.firstElementChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

element("address").textContent = location.host;
const you = invite("You", WAYS.usual, true);
for (const [name, transports] of GUESTS) invite(name, transports, false);
setInterval(talk, TALK_MS);
setInterval(countOthers, LOOK_MS);
setInterval(() => {
  ledger.sweep((name) => guests.find((guest) => guest.name === name)?.isSettled);
  drawFigures();
}, 500);
