// Flask's session, and users that are kept in the process beside it.
import { login, loginsHold } from "../lib/logins.mjs";
import { onTwoNodes, underStart } from "../lib/stage.mjs";
import { pyVersions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const KINDS = [["session", "Flask's session, in a signed cookie"], ["memory", "Flask's session, and users in the process"]];

export default KINDS.map(([kind, what]) => ({
  name: kind === "session" ? "Flask" : "Flask, users in memory",
  sticky: "auto",
  does: `${what}: 20 logins with a jar, each asked for three times`,
  versions: () => pyVersions(folder, ["Flask"]),
  async proof() {
    const app = { folder, command: [`${folder}/venv/bin/python`, "server.py"], env: { KIND: kind } };
    const asks = (stage) => loginsHold(stage, login, { sockets: false });
    const [nodes, start] = [await onTwoNodes(app, {}, asks), await underStart(app, asks)];
    return {
      good: nodes.held === 20 && start.held === 20,
      seen: `two nodes: ${nodes.held} of 20; \`start -i 2\`: ${start.held} of 20`,
      detail: [...nodes.why, ...start.why],
    };
  },
}));
