// Who is logged in, as pages and sockets say it.
import { io } from "socket.io-client";

import { visitors } from "./browser.mjs";
import { Jar } from "./jar.mjs";

/** POST /login, as a form does it. */
export async function login(jar, user) {
  await jar.ask("GET", "/");
  return jar.json("POST", `/login?user=${user}`);
}

/** The page is static; the handshake sets the cookie, and the socket logs in. */
export async function loginInSocket(jar, user) {
  await jar.ask("GET", "/");
  const sid = await handshake(jar);
  await jar.ask("POST", `${POLLING}&sid=${sid}`, `420["login","${user}"]`);
  const done = (await event(jar, sid, "430"))[0];
  await leave(jar, sid);
  return done;
}

/** 20 log in one after the other; then each is asked for three times, on a page and in a socket. */
export async function loginsHold(stage, how, { sockets = true } = {}) {
  const jars = [];
  for (let number = 0; number < LOGINS; number += 1) {
    const jar = new Jar(stage.url);
    jars.push([jar, await how(jar, `user-${number}`)]);
  }
  const why = [];
  let held = 0;
  for (const [jar, at] of jars) {
    const seen = [];
    for (let time = 0; time < 3; time += 1) {
      seen.push((await jar.json("GET", "/me")).user);
      if (sockets) seen.push((await inSocket(jar)).user);
    }
    if (seen.every((user) => user === at.user && user)) held += 1;
    else why.push(`${at.user} on ${at.node}: ${seen.join(" ")}`);
  }
  return { held, why };
}

async function inSocket(jar) {
  const sid = await handshake(jar);
  const me = (await event(jar, sid, "42"))[1];
  await leave(jar, sid);
  return me;
}

/** Engine.IO's close, so that the session does not weigh on its node for another ping timeout. */
async function leave(jar, sid) {
  await jar.ask("POST", `${POLLING}&sid=${sid}`, "1");
}

async function handshake(jar) {
  const { text } = await jar.ask("GET", POLLING);
  const { sid } = JSON.parse(text.slice(1));
  await jar.ask("POST", `${POLLING}&sid=${sid}`, "40");
  return sid;
}

/** What the first event or acknowledgement of this kind holds. */
async function event(jar, sid, kind) {
  for (let polls = 0; polls < 5; polls += 1) {
    const { text } = await jar.ask("GET", `${POLLING}&sid=${sid}`);
    const packet = text.split("\x1e").find((each) => each.startsWith(`${kind}[`));
    if (packet) return JSON.parse(packet.slice(kind.length));
  }
  throw new Error(`no ${kind} came`);
}

/** 60 clients of Socket.IO without a jar, on each transport. */
export async function crowd(stage) {
  const said = [];
  let good = true;
  for (const transport of ["polling", "websocket"]) {
    const clients = Array.from({ length: CROWD }, () => io(stage.url, { transports: [transport], forceNew: true, reconnection: false }));
    const nodes = await Promise.all(clients.map((client) => new Promise((told) => {
      client.once("me", (me) => told(me.node)).once("connect_error", () => told(null));
      setTimeout(told, 20_000, null);
    })));
    clients.forEach((client) => client.close());
    const there = nodes.filter(Boolean);
    const counts = [...new Set(there)].map((node) => there.filter((each) => each === node).length);
    said.push(`${there.length} of ${CROWD} ${transport} (${counts.join(" + ")})`);
    good &&= there.length === CROWD && counts.length === 2 && Math.abs(counts[0] - counts[1]) <= 6;
  }
  return { good, said: said.join(", ") };
}

/** A page of Chromium's logs in, by a request or in its socket, and asks who it is; where it has a socket, that says it too. */
export async function loginsInChromium(stage, { sockets = true, inSocket = false } = {}) {
  const seen = await visitors(LOGINS, async (page, number) => {
    const wanted = `ada-${number}`;
    await page.goto(`${stage.url}/page`);
    await page.evaluate(([user, inSocket]) => (inSocket ? window.loginInSocket(user) : window.login(user)), [wanted, inSocket]);
    const ids = sockets ? ["#page", "#socket"] : ["#page"];
    const said = ids.map(async (id) => {
      await page.locator(id, { hasText: "node" }).waitFor();
      return JSON.parse(await page.locator(id).textContent()).user;
    });
    return { said: await Promise.all(said), wanted };
  });
  const held = seen.filter((each) => each.said?.every((user) => user === each.wanted)).length;
  const why = seen.filter((each) => each.failed).map((each) => each.failed);
  return { good: held === LOGINS, said: `${held} of ${LOGINS} in Chromium`, why };
}

const LOGINS = 20;
const CROWD = 60;
const POLLING = "/socket.io/?EIO=4&transport=polling";
