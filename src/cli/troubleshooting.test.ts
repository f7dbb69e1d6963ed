/** docs/TROUBLESHOOTING.md quotes messages: each is one that the programs have. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";

const SOURCES = join(import.meta.dir, "..");

/** All of the programs, without what a message is put together with at run time. */
function source(): string {
  const files = [...new Glob("**/*.ts").scanSync(SOURCES)].filter(
    (path) => !/\.(test|fixture|conformance)\.ts$/.test(path),
  );
  return files.map((path) => readFileSync(join(SOURCES, path), "utf8")).join("\n");
}

/** The messages in the first column of a table `| message | what to do |`. */
function quoted(): string[] {
  const text = readFileSync(join(SOURCES, "../docs/TROUBLESHOOTING.md"), "utf8");
  const tables = text.split("| message | what to do |\n| --- | --- |\n").slice(1);
  const rows = tables.flatMap((table) => table.split("\n\n", 1)[0]?.split("\n") ?? []);
  return rows.flatMap((row) => {
    const [, message = ""] = row.split("|");
    return [...message.matchAll(/`([^`]+)`/g)].map(([, one = ""]) => one);
  });
}

test("messages in docs/TROUBLESHOOTING.md are in the source, word for word", () => {
  const messages = quoted();
  expect(messages.length).toBeGreaterThan(20);
  const text = source();
  const unknown = messages.filter((message) => {
    const parts = message.split("…").map((part) => part.replace(/^[\s:;,.()"]+|[\s:;,("]+$/g, ""));
    return !parts.every((part) => text.includes(part));
  });
  expect(unknown).toEqual([]);
});
