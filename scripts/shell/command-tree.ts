/** The command tree of a program, as completion scripts and manual pages want it. */
import { type Command, commandsOf, type Group, isGroup } from "#cli/command.ts";
import type { Flag } from "#cli/flags.ts";

export interface Program {
  readonly name: "spire-server" | "spire-agent";
  readonly commands: Group;
}

/** A place on the command line: the words so far, and what may follow. */
export interface Place {
  /** `entry create`; empty for the program itself. */
  readonly words: string;
  readonly next: readonly { readonly word: string; readonly about: string }[];
  readonly flags: readonly FlagInfo[];
  /** Files are what may follow. */
  readonly takesFiles: boolean;
}

export interface FlagInfo {
  readonly name: string;
  readonly help: string;
  readonly defaultText: string | undefined;
  readonly isSwitch: boolean;
  /** What its value may be: some words, a file, or anything. */
  readonly values: readonly string[] | "file" | "any";
}

export interface CommandInfo {
  readonly words: string;
  readonly synopsis: string;
  readonly operands: string | undefined;
  readonly flags: readonly FlagInfo[];
}

/** Words that both programs have beside their commands. */
const OWN_WORDS = [
  { word: "help", about: "Shows how a command is used" },
  { word: "version", about: "Prints the version" },
];

export function commandInfos({ commands }: Program): CommandInfo[] {
  return commandsOf(commands).map(([words, { synopsis, operands, flags }]) => ({
    words,
    synopsis,
    operands,
    flags: flagInfos(flags),
  }));
}

/** All places, the program itself first. */
export function placesOf({ commands }: Program): Place[] {
  return placesBelow(commands, "");
}

function placesBelow(node: Group | Command, words: string): Place[] {
  if (!isGroup(node)) {
    const takesFiles = node.operands !== undefined;
    return [{ words, next: [], flags: flagInfos(node.flags), takesFiles }];
  }
  const children = Object.entries(node.subCommands).sort(([a], [b]) => (a < b ? -1 : 1));
  const next = children.map(([word, child]) => ({ word, about: aboutOf(word, child) }));
  const own = words === "" ? OWN_WORDS : [];
  const flags = node.bare === undefined ? [] : flagInfos(node.bare.flags);
  const here: Place = { words, next: [...next, ...own], flags, takesFiles: false };
  const below = children.flatMap(([word, child]) => placesBelow(child, `${words} ${word}`.trim()));
  return [here, ...below];
}

function aboutOf(word: string, node: Group | Command): string {
  return isGroup(node) ? `Commands about ${ABOUT[word] ?? word}` : node.synopsis;
}

const ABOUT: Readonly<Record<string, string>> = {
  agent: "agents",
  api: "the Workload API",
  backup: "backups",
  bundle: "trust bundles",
  ca: "a CA that is signed by hand",
  debug: "a running daemon",
  entry: "registration entries",
  federation: "federated trust domains",
  fetch: "SVIDs",
  jwt: "JWT-SVIDs and their authorities",
  localauthority: "the server's own authorities",
  logger: "the log level",
  token: "join tokens",
  upstreamauthority: "the authority above the server's",
  wit: "WIT-SVIDs",
  x509: "X509-SVIDs and their authorities",
};

function flagInfos(flags: Readonly<Record<string, Flag<unknown>>>): FlagInfo[] {
  return Object.entries(flags)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]) => ({
      name,
      help: flag.help,
      defaultText: flag.defaultText,
      isSwitch: flag.valueName === "",
      values: valuesOf(name, flag),
    }));
}

const LEVELS = ["debug", "error", "info", "trace", "warn"];
const MATCHES = ["any", "exact", "subset", "superset"];
const WORDS: Readonly<Record<string, readonly string[]>> = {
  banned: ["false", "true"],
  canReattest: ["false", "true"],
  level: LEVELS,
  logFormat: ["json", "text"],
  logLevel: LEVELS,
  matchFederatesWithOn: MATCHES,
  matchSelectorsOn: MATCHES,
  output: ["json", "pretty"],
  rebootstrapMode: ["always", "auto", "never"],
  sort: ["address", "expires", "host", "node", "seen", "type", "version"],
  trustBundleFormat: ["pem", "spiffe"],
};
const FILES =
  /^(config|configOutput|data|dataDir|entriesDir|file|joinFile|joinTokenFile|logFile|output|passphraseFile|path|socketPath|trustBundle|write)$/;

function valuesOf(name: string, { valueName }: Flag<unknown>): FlagInfo["values"] {
  // Of a backup, -output is a file.
  const isFile = FILES.test(name) && !(name === "output" && valueName === "value");
  return isFile ? "file" : (WORDS[name] ?? "any");
}
