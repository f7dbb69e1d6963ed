/**
 * The command tree that both executables share. A command is a citty command whose arguments follow Go's flag rules; a
 * group is a word with subcommands. Nothing heavy is loaded to build the tree: what a command needs, it imports when it runs.
 */
import { type CommandDef, defineCommand } from "citty";
import {
  type FlagSpecs,
  type FlagValues,
  type ParsedFlags,
  parseFlags,
  refuseStray,
  usageText,
} from "./flags.ts";
import type { Io } from "./io.ts";

/** What citty hands on to a command. It reads no flags itself: it would take `-to=a_b` for a bunch of switches, and stumble. */
export interface CommandLine {
  /** The words behind the command. */
  readonly words: readonly string[];
  readonly io: Io;
}

/** One run of a command. */
export interface Invocation<S extends FlagSpecs> extends ParsedFlags {
  readonly flags: FlagValues<S>;
  readonly io: Io;
}

export interface CommandSpec<S extends FlagSpecs> {
  /** One line, for lists of commands. */
  readonly synopsis: string;
  readonly flags: S;
  /** The words that go behind the flags, for the help; absent when there are none. */
  readonly operands?: string;
  /** @returns the exit code */
  run(invocation: Invocation<S>): Promise<number>;
}

export interface Command extends CommandDef {
  readonly synopsis: string;
  readonly flags: FlagSpecs;
  readonly operands: string | undefined;
}

export interface Group extends CommandDef {
  readonly subCommands: Readonly<Record<string, Command | Group>>;
  /** What the bare word does; undefined when it only lists its subcommands. */
  readonly bare?: Command;
}

export function defineLeaf<S extends FlagSpecs>(spec: CommandSpec<S>): Command {
  const { synopsis, flags, operands } = spec;
  const definition = defineCommand({
    meta: { description: synopsis },
    run: ({ data }) => {
      const { words, io }: CommandLine = data;
      const parsed = parseFlags(flags, words);
      if (operands === undefined) refuseStray(parsed);
      return spec.run({ ...parsed, flags: parsed.read(flags), io });
    },
  });
  return { ...definition, synopsis, flags, operands };
}

/** How a command is used, by its full words. */
export function usageOf(words: string, { flags, operands }: Command): string {
  return usageText(operands === undefined ? words : `${words} [flags] ${operands}`, flags);
}

export function defineGroup(
  subCommands: Readonly<Record<string, Command | Group>>,
  bare?: Command,
): Group {
  return { ...defineCommand({}), subCommands, ...(bare === undefined ? {} : { bare }) };
}

export function isGroup(node: Command | Group): node is Group {
  return node.subCommands !== undefined;
}

/** All commands under a group with their full words, in alphabetical order. */
export function commandsOf(group: Group, prefix = ""): readonly (readonly [string, Command])[] {
  const found: (readonly [string, Command])[] = [];
  for (const [word, node] of Object.entries(group.subCommands).sort(([a], [b]) =>
    a < b ? -1 : 1,
  )) {
    const words = prefix === "" ? word : `${prefix} ${word}`;
    if (!isGroup(node)) {
      found.push([words, node]);
      continue;
    }
    if (node.bare !== undefined) found.push([words, node.bare]);
    found.push(...commandsOf(node, words));
  }
  return found;
}
