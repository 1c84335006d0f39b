// Processes that a proof starts, and their end: each in a group of its own, which is killed when the proof is over, and also
// when the runner is killed, which can clean up nothing itself.
import { spawn } from "node:child_process";
import { createServer, connect } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const STARTS_MS = 60_000;
const LINES_KEPT = 400;
const running = new Set();
/** Reads a pipe that the runner holds: when that ends, so does the group. Then it becomes the program. */
const LIFELINE = '(read -r _ <&3; kill -s KILL -- "-$$") >/dev/null 2>&1 & exec 3<&-; exec "$@"';

export class Process {
  lines = [];

  constructor(command, { cwd, env = {} } = {}) {
    this.command = command;
    this.child = spawn("sh", ["-c", LIFELINE, "sh", ...command], {
      cwd, detached: true, stdio: ["ignore", "pipe", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1", ...env },
    });
    const lifeline = this.child.stdio[3];
    lifeline.on("error", () => { /* it reads nothing */ });
    this.child.on("exit", () => lifeline.destroy());
    running.add(this);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.lines.push(line);
        this.lines.splice(0, Math.max(0, this.lines.length - LINES_KEPT));
      });
    }
    this.closed = new Promise((closed) => this.child.on("close", closed).on("error", closed));
    /** Its exit code, or the name of the signal that ended it. */
    this.exit = new Promise((ended) => {
      this.child.on("error", (error) => { this.lines.push(String(error)); this.ended = true; ended(String(error)); });
      this.child.on("exit", (code, signal) => { this.ended = true; ended(code ?? signal); });
    });
  }

  /** The first match of `pattern` in what it has written. */
  async says(pattern) {
    return until(() => this.lines.map((line) => line.match(pattern)).find(Boolean), this);
  }

  /** Waits until somebody accepts on `port`. */
  async listens(port) {
    return until(() => accepts(port), this);
  }

  /** To the program alone, whose process the shell has become. */
  signal(name) {
    this.child.kill(name);
  }

  async kill(signal = "SIGKILL") {
    try { process.kill(-this.child.pid, signal); } catch { /* it has ended by itself */ }
    if (signal === "SIGKILL" && this.child.pid) { await this.exit; running.delete(this); }
  }
}

/** Ends all that is left; for the end of a proof and for Ctrl-C. */
export async function endAll() {
  await Promise.all([...running].map((each) => each.kill()));
}

/** A port of loopback that is free now. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** What a command printed and how it ended. */
export async function run(command, options) {
  const began = Date.now();
  const started = new Process(command, options);
  const code = await started.exit;
  await started.closed;
  running.delete(started);
  return { code, said: started.lines.join("\n"), seconds: (Date.now() - began) / 1000 };
}

async function until(look, who) {
  const deadline = Date.now() + STARTS_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (who.ended || Date.now() > deadline) {
      throw new Error(`${who.command.join(" ")} is not ready:\n${who.lines.slice(-15).join("\n")}`);
    }
    await pause(50);
  }
}

function accepts(port) {
  return new Promise((told) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => { socket.destroy(); told(true); });
    socket.once("error", () => told(false));
  });
}
