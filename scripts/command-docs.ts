/** Writes the command reference from the command trees: `command-docs.ts FILE [--check]`. */
import { readFileSync, writeFileSync } from "node:fs";
import { agentCommands } from "#agent/commands/tree.ts";
import { type Command, commandsOf, type Group } from "#cli/command.ts";
import type { Flag } from "#cli/flags.ts";
import { serverCommands } from "#server/commands/tree.ts";

const INTRODUCTION = `# Commands

Generated from the command trees by scripts/generate-command-docs.

A flag is written \`-name value\`, \`-name=value\` or with two dashes; a switch is \`-name\` or \`-name=false\`. Flags stand behind the
command, before any other word; a word that a command has no use for is refused, as flags behind it would not count. \`-h\` prints the flags
of a command, and so does \`spire-server help entry create\`; \`spire-server version\` prints the version. Lists grow when a flag of type
\`value\` is given several times. Seconds may be written as durations: \`90\`, \`1h30m\`.

With \`-output json\` a command prints one line of JSON with sorted keys; failed items of a batch are then part of the result and the
exit code is 0. Otherwise the exit code is 0 when all went well, 1 when something failed, 127 for an unknown command.

\`spire-server wit\` is there when the environment variable \`SPIRE_SERVER_FFLAGS\` holds \`wit-svid\`, as in
\`SPIRE_SERVER_FFLAGS=wit-svid spire-server wit mint …\`.
`;

function section(program: string, commands: Group): string {
  const parts = commandsOf(commands).map(([words, command]) =>
    commandText(program, words, command),
  );
  return [`## ${program}`, ...parts].join("\n\n");
}

function commandText(program: string, words: string, command: Command): string {
  const rows = Object.entries(command.flags)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]) => flagRow(name, flag));
  return [
    `### ${program} ${words}`,
    "",
    ...(command.operands === undefined
      ? []
      : [`\`${program} ${words} [flags] ${command.operands}\``, ""]),
    `${command.synopsis}.`,
    "",
    "| flag | type | default | meaning |",
    "| --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

function flagRow(name: string, flag: Flag<unknown>): string {
  const names = [name, ...(flag.aliases ?? [])].map((one) => `\`-${one}\``).join(", ");
  const help = flag.help.replaceAll("|", "\\|");
  return `| ${names} | ${flag.valueName || "switch"} | ${flag.defaultText ?? ""} | ${help} |`;
}

const [file = "", mode] = process.argv.slice(2);
const text = `${[
  INTRODUCTION,
  section("spire-server", serverCommands("wit-svid")),
  "",
  section("spire-agent", agentCommands),
].join("\n")}\n`;
if (mode !== "--check") {
  writeFileSync(file, text);
} else if (readFileSync(file, "utf8") !== text) {
  console.error(`${file} does not match the commands; run scripts/generate-command-docs`);
  process.exit(1);
}
