/**
 * From the words of a command line to a command and its exit code, as the reference's executables do it: 127 for no or an
 * unknown command, 1 for wrong flags and for a word that only groups subcommands, help and version on standard error with 0.
 * A slip is answered by the word that was probably meant, and the list of flags is left to `-help`. The words `help` and `version` are ours.
 */
import { runCommand } from "citty";
import { nearest } from "#config/nearest.ts";
import { type Command, type CommandLine, type Group, isGroup } from "./command.ts";
import { FlagError, quoteWord } from "./flags.ts";
import { helpText, listOf, programHelp } from "./help.ts";
import { type Io, outputProblem, processIo } from "./io.ts";
import { VERSION } from "./version.ts";

export interface Program {
  readonly name: string;
  readonly version: string;
  readonly commands: Group;
}

const HELP_FLAGS = ["-h", "-help", "--help"];
const VERSION_FLAGS = ["-v", "-version", "--version"];
const EXIT_UNKNOWN = 127;

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
    return wantsHelp ? 0 : EXIT_UNKNOWN;
  }
  const named = words.slice(first);
  const target = route(program.commands, named);
  if (leading.some((word) => word.startsWith("-") && !HELP_FLAGS.includes(word))) {
    io.err("Flags go behind the command that they belong to.\n");
    return target === undefined ? EXIT_UNKNOWN : 1;
  }
  if (target === undefined) return ownWord(program, named, io);
  if (wantsHelp) {
    io.err(helpText(target));
    return 0;
  }
  return runTarget(program, target, io);
}

/** The words that both programs have beside their commands. */
const OWN_WORDS: Readonly<
  Record<string, (program: Program, rest: readonly string[], io: Io) => number>
> = {
  help: (program, rest, io) => {
    const target = route(program.commands, rest);
    if (rest.length > 0 && (target === undefined || target.rest.length > 0)) {
      return unknown(program, target, rest, io);
    }
    io.out(target === undefined ? programHelp(program) : helpText(target));
    return 0;
  },
  version: (program, [stray], io) => {
    if (stray === undefined) io.out(`${program.version}\n`);
    else io.err(`unexpected argument ${quoteWord(stray)}\n`);
    return stray === undefined ? 0 : 1;
  },
};

function ownWord(program: Program, [word = "", ...rest]: readonly string[], io: Io): number {
  const own = Object.hasOwn(OWN_WORDS, word) ? OWN_WORDS[word] : undefined;
  return own?.(program, rest, io) ?? unknown(program, undefined, [word], io);
}

/** A word that is no command: the one that was probably meant, or what there is. */
function unknown(
  program: Program,
  target: Target | undefined,
  words: readonly string[],
  io: Io,
): number {
  const group = target === undefined ? program.commands : (target.group ?? { subCommands: {} });
  const before = [program.name, ...(target === undefined ? [] : [target.name])].join(" ");
  const [word = ""] = target === undefined ? words : target.rest;
  const own = target === undefined ? Object.keys(OWN_WORDS) : [];
  const near = nearest(word, [...Object.keys(group.subCommands), ...own]);
  const problem = `${before} has no command ${quoteWord(word)}`;
  if (near === undefined) {
    if (target === undefined) io.err(programHelp(program));
    else if (target.group !== undefined) io.err(`${listOf(target.group)}\n`);
    io.err(`${problem}.\n`);
  } else {
    io.err(`${problem}. Did you mean "${before} ${near}"?\n`);
  }
  return target === undefined ? EXIT_UNKNOWN : 1;
}

async function runTarget(program: Program, target: Target, io: Io): Promise<number> {
  const { name, group, node, rest } = target;
  const [word = ""] = rest;
  if (group !== undefined && word !== "" && !word.startsWith("-")) {
    return unknown(program, target, rest, io);
  }
  if (node !== undefined) return runLeaf(node, `${program.name} ${name}`, rest, io);
  if (group !== undefined) io.err(`${listOf(group)}\n`);
  io.err(
    word === ""
      ? `"${name}" needs one of these behind it.\n`
      : `Flags go behind the command that they belong to; "${name}" needs one of these first.\n`,
  );
  return 1;
}

/** @param name all words that lead to the command */
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
    const near = error.near === undefined ? "" : `Did you mean ${error.near}? `;
    io.err(`${error.message}\n${near}All flags: ${name} -help\n`);
    return 1;
  }
}

export interface Target {
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
