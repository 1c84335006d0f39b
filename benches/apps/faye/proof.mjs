// Faye: the client's id is in the body, so that only a cookie or the address can keep it. Its client in Node.js has a jar.
import faye from "faye";

import { onTwoNodes } from "../lib/stage.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const CLIENTS = 10;

const KINDS = [
  ["Faye, long polling", "cookie", "websocket", undefined],
  ["Faye, WebSocket", "cookie", null, "Its client opens the WebSocket while its handshake is under way, before there is a cookie, and meets its node by chance; `sticky = \"ip\"` is for such"],
  ["Faye, WebSocket, by address", "ip", null, undefined],
];

export default KINDS.map(([name, sticky, disabled, limit]) => ({
  name,
  sticky,
  does: `${CLIENTS} clients hear their own five messages each`,
  versions: () => versions(folder, ["faye"]),
  proof: () => onTwoNodes({ folder, command: ["node", "server.mjs"] }, { sticky }, async (stage) => {
    const all = await Promise.all(Array.from({ length: CLIENTS }, (_, number) => hears(stage.url, disabled, `/to/${number}`)));
    const whole = all.filter((count) => count === 5).length;
    return { good: whole === CLIENTS, seen: `${whole} of ${CLIENTS}`, limit: whole === CLIENTS ? undefined : limit };
  }),
}));

async function hears(url, disabled, channel) {
  const client = new faye.Client(`${url}/faye`, { timeout: 30 });
  // It begins with long polling, and goes on with a WebSocket unless told not to.
  if (disabled) client.disable(disabled);
  let count = 0;
  const patience = (promise) => Promise.race([promise, new Promise((over) => setTimeout(over, 15_000))]).catch(() => {});
  await patience(client.subscribe(channel, () => { count += 1; }));
  for (let number = 0; number < 5; number += 1) await patience(client.publish(channel, { number }));
  for (let turns = 0; turns < 30 && count < 5; turns += 1) await new Promise((later) => setTimeout(later, 100));
  client.disconnect();
  return count;
}
