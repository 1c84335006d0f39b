// Flask's session, and users that are kept in the process beside it.
import { login, loginsHold, loginsInChromium } from "../lib/logins.mjs";
import { onTwoNodes, underStart } from "../lib/stage.mjs";
import { pyVersions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const KINDS = [["session", "Flask's session, in a signed cookie"], ["memory", "Flask's session, and users in the process"]];

export default KINDS.map(([kind, what]) => ({
  name: kind === "session" ? "Flask" : "Flask, users in memory",
  sticky: "auto",
  does: `${what}: 20 logins with a jar, each asked for three times; 20 in Chromium`,
  versions: () => pyVersions(folder, ["Flask"]),
  async proof() {
    const app = { folder, command: [`${folder}/venv/bin/python`, "server.py"], env: { KIND: kind } };
    const use = async (stage) => {
      const held = await loginsHold(stage, login, { sockets: false });
      return { held, browser: await loginsInChromium(stage, { sockets: false }) };
    };
    const [nodes, start] = [await onTwoNodes(app, {}, use), await underStart(app, use)];
    const said = (seen) => `${seen.held.held} of 20 logins, ${seen.browser.said}`;
    return {
      good: [nodes, start].every((seen) => seen.held.held === 20 && seen.browser.good),
      seen: `two nodes: ${said(nodes)}; \`start -i 2\`: ${said(start)}`,
      detail: [nodes, start].flatMap((seen) => [...seen.held.why, ...seen.browser.why]),
    };
  },
}));
