// What is installed, by name and version.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { run } from "./process.mjs";

/** npm's packages in `folder`. */
export async function versions(folder, packages) {
  const read = async (name) => JSON.parse(await readFile(join(folder, "node_modules", name, "package.json"), "utf8"));
  return (await Promise.all(packages.map(read))).map(({ name, version }) => `${name} ${version}`).join(", ");
}

/** PyPI's packages in the folder's `venv`. */
export async function pyVersions(folder, packages) {
  const script = `import sys, importlib.metadata as m\nfor n in sys.argv[1:]: print(n, m.version(n))`;
  const { said } = await run([join(folder, "venv/bin/python"), "-c", script, ...packages], {});
  return said.split("\n").join(", ");
}
