// Puts the binary itself in the place of bin/tidelock, so that signals reach it and no Node.js process stands before it. Where
// scripts are not run (--ignore-scripts), bin/tidelock starts it.

const fs = require("node:fs");
const path = require("node:path");
const { binary } = require("./platform.js");

const command = path.join(__dirname, "bin", "tidelock");
const beside = `${command}.new`;

try {
  const found = binary();
  fs.rmSync(beside, { force: true });
  try {
    fs.linkSync(found, beside);
  } catch {
    // Another file system.
    fs.copyFileSync(found, beside);
    fs.chmodSync(beside, 0o755);
  }
  // The name changes its file at once. Nothing is written into the file that was there: others may share it, as pnpm does it.
  fs.renameSync(beside, command);
} catch (error) {
  // bin/tidelock says it again when it is used.
  console.error(error.message);
}
