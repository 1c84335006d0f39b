// Socket.IO 2 and 4 on Node.js: what the servers in Python are compared with.
import io2 from "socket.io-client-v2";

import { leaving } from "../lib/talk.mjs";
import { versions } from "../lib/versions.mjs";

const folder = import.meta.dirname;

const server = (kind) => ({ folder, command: ["node", "server.mjs"], env: { KIND: kind } });

export default [["4", ["socket.io"]], ["2", ["socket.io-v2", "socket.io-client-v2"]]].map(([kind, packages]) => ({
  name: `Socket.IO ${kind}`,
  sticky: "auto",
  does: "20 polling clients talk once a second through a drain and a roll",
  versions: () => versions(folder, packages),
  proof: () => leaving(server(kind), { io: kind === "2" ? io2 : undefined, server: server(kind) }),
}));
