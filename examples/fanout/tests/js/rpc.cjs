// Lets a test drive this process: one JSON object per line, {id, op, …} in, {id, result | error} out.
// JSON has neither bytes nor dates; they travel as {$bytes: base64} and {$date: milliseconds}.
const readline = require("node:readline");

function revive(value) {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  if ("$date" in value) return new Date(value.$date);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revive(inner)]));
}

function plain(value) {
  if (value instanceof Map || value instanceof Set) return plain([...value]);
  if (ArrayBuffer.isView(value)) return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Error) return { $error: value.message };
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

function serve(ops) {
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const { id, op, ...parameters } = JSON.parse(line);
    let answer;
    try {
      answer = { id, result: plain((await ops[op](revive(parameters))) ?? null) };
    } catch (error) {
      answer = { id, error: String(error?.message ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }).on("close", () => process.exit(0)); // The test is gone.
}

module.exports = { serve };
