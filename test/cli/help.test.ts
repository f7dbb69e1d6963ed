/**
 * Walks the reference's own help, word by word, and compares commands, flags, types and defaults with ours. What differs must stand in
 * docs/DIFFERENCES.md, and what stands there must differ.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/process.ts";
import { executable, type Implementation } from "../support/spire.ts";

const EXPLAINED = join(import.meta.dir, "../../docs/DIFFERENCES.md");

type Program = "spire-server" | "spire-agent";

/** Commands of the server that are there only when this is in their environment. */
const FEATURE_FLAGS = { SPIRE_SERVER_FFLAGS: "wit-svid" };

/** A command's flags: `-name type (default …)` by name; a group has none. */
type Commands = ReadonlyMap<string, ReadonlyMap<string, string>>;

test.each(["spire-server", "spire-agent"] as const)(
  "%s has the reference's commands and flags, but for what is explained",
  async (program) => {
    const [theirs, ours] = await Promise.all([
      commandsOf("reference", program),
      commandsOf("ours", program),
    ]);
    expect(theirs.size).toBeGreaterThan(9);
    expect(differences(program, theirs, ours)).toEqual(explained(program));
  },
  120_000,
);

test.each(["reference", "ours"] as const)(
  "%s server: commands of experiments are not there without their feature flag",
  async (implementation) => {
    const server = executable(implementation, "spire-server");
    expect(subcommands(await output([server, "-h"]))).toContain("wit");
    const unknown = await run([server, "wit", "mint"], { env: { SPIRE_SERVER_FFLAGS: "wit" } });
    expect(unknown.code).toBe(127);
    expect(subcommands(unknown.stdout + unknown.stderr)).not.toContain("wit");
  },
);

/** All commands of a program, found as a user finds them: by asking each word for help and reading the lists. */
async function commandsOf(implementation: Implementation, program: Program): Promise<Commands> {
  const path = executable(implementation, program);
  const found = new Map<string, ReadonlyMap<string, string>>();
  const explore = async (words: readonly string[]): Promise<void> => {
    const help = await output([path, ...words, "-h"]);
    const listed = subcommands(help);
    if (words.length > 0 && listed.length === 0) found.set(words.join(" "), flagsOf(help));
    await Promise.all(listed.map((word) => explore([...words, word])));
  };
  await explore([]);
  return found;
}

async function output(command: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(command, { env: FEATURE_FLAGS, timeoutMs: 10_000 });
  return stdout + stderr;
}

/** The words of the list of subcommands, empty for a command that has none. */
function subcommands(text: string): string[] {
  const list = /(?:Available commands are|Subcommands):\n((?: {4}\S.*\n)+)/.exec(text)?.[1] ?? "";
  return [...new Set(list.split("\n").flatMap((line) => /^ {4}(\S+)/.exec(line)?.[1] ?? []))];
}

/** What follows "Usage of": a flag with its type, and below it its meaning with the default at the end. */
function flagsOf(help: string): ReadonlyMap<string, string> {
  const flags = new Map<string, string>();
  let name = "";
  for (const line of help.split("\n")) {
    const [, flag = "", type = ""] = /^ {2}-(\w+)(?: (\w+))?/.exec(line) ?? [];
    if (flag !== "") {
      name = flag;
      flags.set(name, type);
    }
    const initial = /\(default (.*)\)$/.exec(line)?.[1];
    if (initial !== undefined) flags.set(name, `${flags.get(name)} = ${initial}`);
  }
  return flags;
}

function differences(program: Program, theirs: Commands, ours: Commands): string[] {
  const found: string[] = [];
  for (const command of union(theirs, ours)) {
    const [their, our] = [theirs.get(command), ours.get(command)];
    const place = `${program} ${command}`;
    if (their === undefined || our === undefined) {
      found.push(`${place}: ${our === undefined ? "missing" : "added"}`);
      continue;
    }
    for (const flag of union(their, our)) {
      const [before, after] = [their.get(flag), our.get(flag)];
      if (before !== after) found.push(`${place} -${flag}: ${change(before, after)}`);
    }
  }
  return found.sort();
}

function change(before: string | undefined, after: string | undefined): string {
  if (before === undefined) return "added";
  return after === undefined ? "missing" : `${before.trim()} became ${after.trim()}`;
}

function union(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])];
}

/** The first cell of the rows that name the program, without its backquotes. */
function explained(program: Program): string[] {
  return readFileSync(EXPLAINED, "utf8")
    .split("\n")
    .flatMap((line) => /^\| `([^`]+)` \| \S/.exec(line)?.[1] ?? [])
    .filter((difference) => difference.startsWith(`${program} `))
    .sort();
}
