// The tables in Markdown. Writes what it is given.
import { readFile, writeFile } from "node:fs/promises";

export function table(rows) {
  const lines = rows.map((row) => {
    const verdict = row.good ? "yes" : row.limit ? "limit" : "**no**";
    return [row.name, row.versions, `\`${row.sticky}\``, row.does, row.seen + (row.limit ? `. ${row.limit}` : ""), verdict];
  });
  return inMarkdown(["application", "packages", "`sticky`", "what is done", "seen", "works"], lines);
}

export function inMarkdown(head, lines) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |\n`;
  return line(head) + `|${"---|".repeat(head.length)}\n` + lines.map(line).join("");
}

export function page(words, rows, plan) {
  return words
    .replace("{table}", () => table(rows).trimEnd())
    .replace("{good}", String(rows.filter((row) => row.good).length))
    .replace("{count}", String(rows.length))
    .replace("{date}", new Date().toISOString().slice(0, 10))
    .replace("{versions}", plan.versions.map((version) => `- ${version}`).join("\n"));
}

/** Replaces what stands between the two marks of the page about drains. */
export async function fillCloseCodes(file, text) {
  const page = await readFile(file, "utf8");
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`${file} has no place for the close codes`);
  await writeFile(file, `${before}${BEGIN}\n${text.trimEnd()}\n${END}${after}`);
}

const BEGIN = "<!-- close codes: cargo xtask bench apps -->";
const END = "<!-- end of close codes -->";
