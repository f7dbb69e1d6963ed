/** What a page of docs/ tells its reader to type. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const DOCS = resolve(import.meta.dir, "../../docs");
const INDENT = "    ";

/**
 * The indented blocks below a heading, up to the next heading, each as a script for a shell.
 *
 * @param page a file in docs/
 * @param heading its text, without the number signs
 * @throws Error when there is no such heading, or no block below it
 */
export function commandsOf(page: string, heading: string): string[] {
  const lines = readFileSync(join(DOCS, page), "utf8").split("\n");
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.endsWith(`# ${heading}`));
  if (start < 0) throw new Error(`${page} has no heading "${heading}"`);
  const blocks: string[] = [];
  let inside = false;
  for (const line of lines.slice(start + 1)) {
    if (/^#+ /.test(line)) break;
    if (line.startsWith(INDENT)) {
      const text = `${line.slice(INDENT.length)}\n`;
      if (inside) blocks.push(`${blocks.pop()}${text}`);
      else blocks.push(text);
      inside = true;
    } else if (line !== "") {
      inside = false;
    } else if (inside) {
      blocks.push(`${blocks.pop()}\n`);
    }
  }
  if (blocks.length === 0) throw new Error(`${page}: no commands below "${heading}"`);
  return blocks;
}
