/**
 * From the words of a command line to a command and its exit code, as the reference's executables do it: 127 for no or an
 * unknown command, 1 for wrong flags and for a word that only groups subcommands, help and version on standard error with 0.
 */
import { runCommand } from "citty";
import {
  type Command,
  type CommandLine,
  commandsOf,
  type Group,
  isGroup,
  usageOf,
} from "./command.ts";
import { FlagError } from "./flags.ts";
import { type Io, outputProblem, processIo } from "./io.ts";
import { VERSION } from "./version.ts";

export interface Program {
  readonly name: string;
  readonly version: string;
  readonly commands: Group;
}

const HELP_FLAGS = ["-h", "-help", "--help"];
const VERSION_FLAGS = ["-v", "-version", "--version"];

/** Runs a command line. Errors of a command that are not about its flags are the command's own business and pass through. */
export async function runProgram(
  program: Program,
  words: readonly string[],
  io: Io,
): Promise<number> {
  const dashes = words.indexOf("--");
  const beforeDashes = dashes === -1 ? words : words.slice(0, dashes);
  const first = beforeDashes.findIndex((word) => word !== "" && !word.startsWith("-"));
  const leading = first === -1 ? beforeDashes : beforeDashes.slice(0, first);
  const wantsHelp = beforeDashes.some((word) => HELP_FLAGS.includes(word));
  if (leading.some((word) => VERSION_FLAGS.includes(word))) {
    io.err(`${program.version}\n`);
    return 0;
  }
  if (first === -1) {
    io.err(programHelp(program));
    return wantsHelp ? 0 : 127;
  }
  const target = route(program.commands, words.slice(first));
  if (target === undefined) {
    io.err(programHelp(program));
    return 127;
  }
  if (wantsHelp || target.node === undefined) {
    io.err(helpText(target));
    return wantsHelp ? 0 : 1;
  }
  if (leading.some((word) => word.startsWith("-") && !HELP_FLAGS.includes(word))) {
    io.err(`Flags go behind the command they belong to.\n\n${usageOf(target.name, target.node)}`);
    return 1;
  }
  return runLeaf(target.node, target.name, target.rest, io);
}

async function runLeaf(
  command: Command,
  name: string,
  rest: readonly string[],
  io: Io,
): Promise<number> {
  try {
    const data: CommandLine = { words: rest, io };
    const { result } = await runCommand(command, { rawArgs: [], data });
    return typeof result === "number" ? result : 0;
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    io.err(`${error.message}\n${usageOf(name, command)}`);
    return 1;
  }
}

interface Target {
  readonly name: string;
  /** What the words lead to when further words may follow. */
  readonly group: Group | undefined;
  /** Undefined when the words name a group that does nothing by itself. */
  readonly node: Command | undefined;
  readonly rest: readonly string[];
}

/** Follows the words as deep as they name commands; the first word that does not is left to the command, as its argument. */
function route(root: Group, words: readonly string[]): Target | undefined {
  let group = root;
  let depth = 0;
  for (const word of words) {
    const next = Object.hasOwn(group.subCommands, word) ? group.subCommands[word] : undefined;
    if (next === undefined) break;
    depth++;
    if (!isGroup(next)) {
      const name = words.slice(0, depth).join(" ");
      return { name, group: undefined, node: next, rest: words.slice(depth) };
    }
    group = next;
  }
  if (depth === 0) return undefined;
  const name = words.slice(0, depth).join(" ");
  return { name, group, node: group.bare, rest: words.slice(depth) };
}

function programHelp(program: Program): string {
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
function helpText({ name, group, node }: Target): string {
  const own = node === undefined ? "" : usageOf(name, node);
  if (group === undefined) return own;
  const commands = commandsOf(group);
  const width = Math.max(...commands.map(([words]) => words.length));
  const usages = commands.map(([words, command]) => usageOf(`${name} ${words}`, command));
  const list = commands.map(([words, { synopsis }]) => `    ${words.padEnd(width)}    ${synopsis}`);
  const need = node === undefined ? `"${name}" needs one of these behind it.\n` : "";
  return `${own}${usages.join("")}${need}\nSubcommands:\n${list.join("\n")}\n`;
}

/** sysexits.h EX_SOFTWARE: a mistake in the program itself. */
const EXIT_SOFTWARE = 70;

/** Runs this process's command line and ends the process with its exit code. */
export async function runMain(name: string, commands: Group): Promise<never> {
  const io = processIo();
  let code: number;
  try {
    code = await runProgram({ name, version: VERSION, commands }, process.argv.slice(2), io);
  } catch (error) {
    io.err(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    code = EXIT_SOFTWARE;
  }
  const lost = await io.flush();
  if (lost !== undefined) {
    io.err(`${outputProblem(lost)}\n`);
    await io.flush();
    if (code === 0) code = 1;
  }
  process.exit(code);
}
