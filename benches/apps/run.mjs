// Starts real applications on two nodes behind tidelock, uses each with its own client, and writes the tables.
//
//   node run.mjs '{"tidelock":"/path/to/tidelock","names":["logins"],"page":"docs/apps.md","words":"apps.md"}'
//
// `cargo xtask bench apps` installs the packages and calls this. Without `page` the table is only printed.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { endAll } from "./lib/process.mjs";
import { binary } from "./lib/stage.mjs";
import { fillCloseCodes, page, table } from "./lib/page.mjs";

const plan = JSON.parse(process.argv[2] ?? "{}");
binary.path = plan.tidelock;
const leave = (code) => endAll().then(() => process.exit(code));
process.on("SIGINT", () => leave(130));
// Whoever has started this holds the other end of stdin, and is gone when that is.
if (plan.lifeline) process.stdin.on("close", () => leave(1)).on("error", () => leave(1)).resume();
// Clients of applications that are killed complain in the background.
process.on("unhandledRejection", (error) => console.error(`apps: unhandled: ${error?.message ?? error}`));

const ORDER = [
  "logins", "flask", "socketio-node", "socketio-python", "streamlit", "gradio", "sockjs", "faye", "primus", "feathers",
  "graphql", "yjs", "mqtt", "jupyter", "close",
];

const SEEN = join(import.meta.dirname, "seen");
const rows = [];
let closes = null;
for (const folder of await folders(plan.names ?? [])) {
  const { default: proofs, closeCodes } = await import(join(import.meta.dirname, folder, "proof.mjs"));
  for (const [number, proof] of (proofs ?? []).entries()) {
    if (plan.only && !proof.name.includes(plan.only)) continue;
    const row = await play(proof);
    console.error(`apps: ${row.good ? "good" : "BAD "} ${proof.name}: ${row.seen}`);
    rows.push({ ...proof, ...row });
    await keep({ ...proof, folder, number }, row);
  }
  if (closeCodes) closes = await closeCodes();
}
console.log(table(rows));
if (closes) console.log(closes.table);
if (plan.page) {
  await writeFile(plan.page, page(await readFile(plan.words, "utf8"), await kept(), plan));
  if (closes) await fillCloseCodes(plan.drain, closes.table);
}
await endAll();
process.exit(rows.every((row) => row.good || row.limit) ? 0 : 1);

async function play(proof) {
  console.error(`apps: ${proof.name}: ${proof.does}`);
  try {
    const seen = await proof.proof();
    if (!seen.good) for (const line of seen.detail ?? []) console.error(`apps:   ${line}`);
    return { ...seen, versions: await proof.versions() };
  } catch (error) {
    console.error(error);
    return { good: false, seen: `failed: ${error.message.split("\n")[0]}`, versions: await proof.versions().catch(() => "") };
  }
}

/** The last row of each application, so that one may be run again alone. */
async function keep({ folder, number, name, sticky, does }, { good, seen, versions, limit }) {
  await mkdir(SEEN, { recursive: true });
  const file = join(SEEN, `${name.replaceAll(/[^\w.]+/g, "-")}.json`);
  await writeFile(file, JSON.stringify({ folder, number, name, sticky, does, good, seen, versions, limit }));
}

/** What is kept of all folders, whether or not their packages are installed here. */
async function kept() {
  const names = await readdir(SEEN);
  const all = await Promise.all(names.map(async (name) => JSON.parse(await readFile(join(SEEN, name), "utf8"))));
  const place = ({ folder, number }) => ORDER.indexOf(folder) * 100 + number;
  return all.sort((one, other) => place(one) - place(other));
}

async function folders(names) {
  const entries = await readdir(import.meta.dirname, { withFileTypes: true, recursive: false });
  const all = entries.filter((entry) => entry.isDirectory() && !["lib", "node_modules", "seen"].includes(entry.name)).map((entry) => entry.name);
  return ORDER.filter((name) => all.includes(name) && (names.length === 0 || names.includes(name)));
}
