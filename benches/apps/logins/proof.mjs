// Logins that an app keeps in its process or in a signed cookie, with the default file and under `tidelock start`.
import { login, loginInSocket, crowd, loginsHold, loginsInChromium } from "../lib/logins.mjs";
import { onTwoNodes, underStart } from "../lib/stage.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const KINDS = [
  ["express-session", ["express-session", "express"], "logins in its memory store, and Socket.IO"],
  ["rolling", ["express-session", "express"], "rolling sessions"],
  ["passport", ["passport", "passport-local"], "passport's local strategy"],
  ["cookie-session", ["cookie-session"], "the session in a signed cookie"],
  ["engine", ["socket.io", "express-session"], "`io.engine.use(session)`: the handshake sets the cookie, the socket logs in"],
];

export default KINDS.map(([kind, packages, what]) => ({
  name: kind === "engine" ? "io.engine.use(session)" : kind === "rolling" ? "express-session, rolling" : kind,
  sticky: "auto",
  does: `${what}: 20 logins with a jar, each asked for on pages and in a socket; 20 in Chromium; 60 + 60 clients without a jar`,
  versions: () => versions(folder, packages),
  async proof() {
    const app = { folder, command: ["node", "server.mjs"], env: { KIND: kind } };
    const how = kind === "engine" ? loginInSocket : login;
    // Whoever has no jar comes while the others log in and are asked for.
    const use = async (stage) => {
      const [held, seen] = await Promise.all([loginsHold(stage, how), crowd(stage)]);
      return { held, crowd: seen, browser: await loginsInChromium(stage, { inSocket: kind === "engine" }) };
    };
    const [nodes, start] = [await onTwoNodes(app, {}, use), await underStart(app, use)];
    const said = (seen) => `${seen.held.held} of 20 logins, ${seen.browser.said}, ${seen.crowd.said}`;
    return {
      good: [nodes, start].every((seen) => seen.held.held === 20 && seen.crowd.good && seen.browser.good),
      seen: `two nodes: ${said(nodes)}; \`start -i 2\`: ${said(start)}`,
      detail: [nodes, start].flatMap((seen) => [...seen.held.why, ...seen.browser.why]),
    };
  },
}));
