/** Help as the reference lays it out: all commands of a program, how one is used, and the list behind a word that has further ones. */
import { commandsOf, type Group, isGroup, usageOf } from "./command.ts";
import type { Program, Target } from "./program.ts";

export function programHelp(program: Pick<Program, "name" | "commands">): string {
  const entries = Object.entries(program.commands.subCommands).sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = entries.map(
    ([word, node]) => `    ${word.padEnd(20)} ${isGroup(node) ? "" : node.synopsis}`,
  );
  return [
    `Usage: ${program.name} [--version] [--help] <command> [<args>]`,
    "",
    "Available commands are:",
    ...lines,
    "",
    "",
  ].join("\n");
}

/** How a command is used; for a word that has commands behind it, also how each of those is used, then their list. */
export function helpText({ name, group, node }: Omit<Target, "rest">): string {
  const own = node === undefined ? "" : usageOf(name, node);
  if (group === undefined) return own;
  const usages = commandsOf(group).map(([words, command]) => usageOf(`${name} ${words}`, command));
  const need = node === undefined ? `"${name}" needs one of these behind it.\n` : "";
  return `${own}${usages.join("")}${need}\n${listOf(group)}`;
}

/** The commands below a word, a line each. */
export function listOf(group: Group): string {
  const commands = commandsOf(group);
  const width = Math.max(...commands.map(([words]) => words.length));
  const list = commands.map(([words, { synopsis }]) => `    ${words.padEnd(width)}    ${synopsis}`);
  return `Subcommands:\n${list.join("\n")}\n`;
}
