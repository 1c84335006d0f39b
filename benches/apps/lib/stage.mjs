// What an application is used on: two nodes of it behind tidelock, or two instances that tidelock runs.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Process, endAll, freePort, run } from "./process.mjs";

/** Where tidelock is; the runner says it. */
export const binary = { path: "tidelock" };

/**
 * An application: `command` gets `{port}` filled in, and PORT, HOST and NODE_NAME in its environment.
 * `folder` is where its files and packages lie.
 */
export async function onTwoNodes(app, settings, use) {
  return onStage(async (stage) => {
    stage.nodes = await Promise.all(["a", "b"].map((name) => startNode(app, name)));
    await stage.serve(file(settings, `nodes = ${JSON.stringify(stage.nodes.map((node) => node.address))}`));
    return use(stage);
  });
}

/** One process of it, without tidelock. */
export async function alone(app, use) {
  try {
    return await use(await startNode(app, "a"));
  } finally {
    await endAll();
  }
}

/** Two processes that `[app.NAME]` runs. */
export async function onTwoInstances(app, settings, use) {
  return onStage(async (stage) => {
    const command = filled(app, "$PORT");
    // A port in the arguments is only known when the process starts.
    const line = command.some((word) => word.includes("$PORT")) ? ["sh", "-c", `exec ${command.join(" ")}`] : command;
    const lines = [
      "", "[app.real]", `command = ${JSON.stringify(line)}`, `cwd = ${JSON.stringify(app.folder)}`, "instances = 2",
      `port = ${JSON.stringify(app.port ?? "env")}`, `ready = { when = "port", deadline = "60s" }`,
      `env = { ${Object.entries(app.env ?? {}).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(", ")} }`,
    ];
    await stage.serve(file(settings, `app = "real"`) + lines.join("\n"));
    await stage.until(READY, ["status"]);
    return use(stage);
  });
}

/** `tidelock start`, without a file. */
export async function underStart(app, use) {
  return onStage(async (stage) => {
    const [program, ...rest] = filled(app, "");
    const env = Object.entries(app.env ?? {}).flatMap(([key, value]) => ["-e", `${key}=${value}`]);
    // `node FILE` is what `start` does with a file by itself.
    const words = program === "node" ? [rest[0], ...env] : [program, "-n", "real", "--port", "env", ...env, "--", ...rest];
    const [file, ...more] = words;
    await stage.run(["start", file, "-i", "2", "-l", "127.0.0.1:0", "--cwd", app.folder, ...more]);
    await stage.until(READY, ["status"]);
    return use(stage);
  });
}

async function startNode(app, name) {
  const port = await freePort();
  const env = { HOST: "127.0.0.1", ...app.env, PORT: String(port), NODE_NAME: name };
  const node = new Process(filled(app, String(port)), { cwd: app.folder, env });
  await node.listens(port);
  return Object.assign(node, { name, port, address: `127.0.0.1:${port}` });
}

function filled(app, port) {
  return app.command.map((word) => word.replaceAll("{port}", port));
}

function file({ sticky, lines = [], drain = [] }, who) {
  return [
    "[[listen]]", `address = "127.0.0.1:0"`, "[[route]]", `upstream = "real"`, "[upstream.real]", who,
    ...(sticky ? [`sticky = ${JSON.stringify(sticky)}`] : []), ...lines,
    ...(drain.length > 0 ? ["[drain]", ...drain] : []), "",
  ].join("\n");
}

async function onStage(use) {
  const stage = new Stage(await mkdtemp(join(tmpdir(), "tidelock-apps-")));
  try {
    return await use(stage);
  } catch (error) {
    error.message += `\n${stage.tidelock?.lines.filter((line) => !line.startsWith("{")).slice(-8).join("\n") ?? ""}`;
    throw error;
  } finally {
    await stage.tidelock?.kill("SIGINT");
    await stage.tidelock?.kill("SIGINT");
    if (stage.tidelock) await stage.tidelock.exit;
    await endAll();
    await rm(stage.folder, { recursive: true, force: true });
  }
}

class Stage {
  constructor(folder) {
    this.folder = folder;
    this.env = { XDG_RUNTIME_DIR: folder, XDG_STATE_HOME: folder };
  }

  async serve(text) {
    await writeFile(join(this.folder, "upstreams.toml"), text);
    await this.run(["upstreams.toml"]);
  }

  async run(words) {
    this.tidelock = new Process([binary.path, ...words], { cwd: this.folder, env: this.env });
    const [, address] = await this.tidelock.says(/listening.* address="?([\d.:]+)/);
    this.address = address;
    this.port = Number(address.split(":")[1]);
    this.url = `http://${address}`;
  }

  /** A verb, such as `drain`. */
  async verb(...words) {
    return run([binary.path, ...words], { cwd: this.folder, env: this.env });
  }

  async until(looks, words) {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const { said } = await this.verb(...words);
      if (looks(said)) return;
      if (Date.now() > deadline || this.tidelock.ended) throw new Error(`not so: ${said}\n${this.tidelock.lines.slice(-9).join("\n")}`);
      await new Promise((later) => setTimeout(later, 200));
    }
  }
}

const READY = (status) => (status.match(/\/\d+ +ready/g) ?? []).length === 2;
