/** What docs/CONFIGURATION.md says of plugins, and what it has to say, for the tests that compare both. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { PluginTable } from "./plugin.ts";

/** The beginnings of the rows of a program's table of plugins: block, how many of its kind. */
export function documentedPlugins(program: "server" | "agent"): string[] {
  const text = readFileSync(join(import.meta.dir, "../../docs/CONFIGURATION.md"), "utf8");
  const [, server = "", agent = ""] = text.split("### `plugins { }`\n");
  const [table = ""] = (program === "server" ? server : agent).trimStart().split("\n\n");
  return [...table.matchAll(/^(\| `\w+ "\w+"` \| [\w ]+ \|)/gm)].map(([, row = ""]) => row);
}

/** The same for each plugin that is built in. */
export function pluginRows(table: PluginTable): string[] {
  return Object.values(table).flatMap(({ kind, allowed, builtIn }) =>
    builtIn.map(({ name }) => `| \`${kind} "${name}"\` | ${allowed} |`),
  );
}
