/**
 * Writes what a shell's user has of the commands: `shell-files.ts DIRECTORY VERSION DATE` puts completion for bash, zsh and fish and the manual
 * page of each program there, under the names that they are installed by.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agentCommands } from "#agent/commands/tree.ts";
import { serverCommands } from "#server/commands/tree.ts";
import { bashCompletion } from "./shell/bash.ts";
import type { Program } from "./shell/command-tree.ts";
import { fishCompletion } from "./shell/fish.ts";
import { manualPage } from "./shell/man.ts";
import { zshCompletion } from "./shell/zsh.ts";

const [directory = ".", version = "", date = ""] = process.argv.slice(2);
const programs: readonly Program[] = [
  { name: "spire-server", commands: serverCommands() },
  { name: "spire-agent", commands: agentCommands },
];
for (const program of programs) {
  const { name } = program;
  write(`bash/${name}`, bashCompletion(program));
  write(`zsh/_${name}`, zshCompletion(program));
  write(`fish/${name}.fish`, fishCompletion(program));
  write(`man/${name}.1`, manualPage(program, version, date));
}

function write(name: string, text: string): void {
  const path = join(directory, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
}
