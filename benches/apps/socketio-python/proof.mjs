// Socket.IO's servers in Python, in their four kinds.
import { leaving } from "../lib/talk.mjs";
import { pyVersions } from "../lib/versions.mjs";

const folder = import.meta.dirname;
const KINDS = [
  ["uvicorn", "python-socketio, uvicorn", ["python-socketio", "python-engineio", "uvicorn"]],
  ["aiohttp", "python-socketio, aiohttp", ["python-socketio", "python-engineio", "aiohttp"]],
  ["threading", "Flask-SocketIO, threads", ["Flask-SocketIO", "python-engineio", "Werkzeug"]],
  ["gevent", "Flask-SocketIO, gevent", ["Flask-SocketIO", "python-engineio", "gevent"]],
];

export default KINDS.map(([kind, name, packages]) => ({
  name,
  sticky: "auto",
  does: "20 polling clients talk once a second through a drain and a roll",
  versions: () => pyVersions(folder, packages),
  proof: () => leaving({ folder, command: [`${folder}/venv/bin/python`, "server.py"], env: { KIND: kind } }),
}));
