// SockJS: its sessions are in the path, on four transports.
import SockJS from "sockjs-client";

import { onTwoNodes } from "../lib/stage.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const TRANSPORTS = ["websocket", "xhr-streaming", "eventsource", "xhr-polling"];
const CLIENTS = 10;
const MESSAGES = 5;

export default [{
  name: "SockJS",
  sticky: "path:3",
  does: `${CLIENTS} clients on each of four transports, ${MESSAGES} echoes each`,
  versions: () => versions(folder, ["sockjs", "sockjs-client"]),
  proof: () => onTwoNodes({ folder, command: ["node", "server.mjs"] }, { sticky: "path:3" }, async (stage) => {
    const said = [];
    let good = true;
    for (const transport of TRANSPORTS) {
      const all = await Promise.all(Array.from({ length: CLIENTS }, () => echoes(stage.url, transport)));
      const whole = all.filter((count) => count === MESSAGES).length;
      said.push(`${transport} ${whole} of ${CLIENTS}`);
      good &&= whole === CLIENTS;
    }
    return { good, seen: said.join(", ") };
  }),
}];

/** How many messages came back, one after the other. */
function echoes(url, transport) {
  return new Promise((told) => {
    const client = new SockJS(`${url}/echo`, null, { transports: transport });
    let count = 0;
    const over = () => { clearTimeout(patience); told(count); client.close(); };
    const patience = setTimeout(over, 20_000);
    client.onopen = () => client.send("0");
    client.onclose = over;
    client.onmessage = ({ data }) => {
      if (data !== String(count)) return over();
      count += 1;
      return count === MESSAGES ? over() : client.send(String(count));
    };
  });
}
