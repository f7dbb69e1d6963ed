import { type CommandInfo, commandInfos, type FlagInfo, type Program } from "./command-tree.ts";

const ABOUT = {
  "spire-server": {
    title: "SPIFFE server, the certificate authority of a trust domain",
    text: "The server issues SPIFFE IDs to nodes and, by its registration entries, to their workloads. Commands speak with a running server over its administration socket.",
    files: [
      ["/etc/spire/server/server.conf", "the configuration of the packaged server"],
      [
        "/run/spire/server/api.sock",
        "its administration socket, which commands find without being told",
      ],
      ["/var/lib/spire/server", "its keys and data"],
    ],
    variables: [
      ["SPIRE_SERVER_PRIVATE_SOCKET", "the administration socket, where -socketPath is not given"],
      ["SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE", "the same with %i in it, for -instance"],
    ],
    other: "spire-agent",
  },
  "spire-agent": {
    title: "SPIFFE agent, identities for the services of a machine",
    text: "The agent joins a server, and hands SVIDs to the processes of its machine over the SPIFFE Workload API. Commands speak with a running agent over its sockets.",
    files: [
      ["/etc/spire/agent/agent.conf", "the configuration of the packaged agent"],
      [
        "/run/spire/agent/public/api.sock",
        "the socket of its Workload API, which commands find without being told",
      ],
      ["/run/spire/agent/private/admin.sock", "its admin socket"],
      ["/var/lib/spire/agent", "its keys and data"],
    ],
    variables: [
      [
        "SPIRE_AGENT_PUBLIC_SOCKET",
        "the socket of the Workload API, where -socketPath is not given",
      ],
      ["SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE", "the same with %i in it, for -instance"],
    ],
    other: "spire-server",
  },
} as const;

/** @param date `2026-11-30` */
export function manualPage(program: Program, version: string, date: string): string {
  const { name } = program;
  const { title, text, files, variables, other } = ABOUT[name];
  return `${[
    `.TH ${name.toUpperCase()} 1 ${date} "spire-edge ${version}" "spire-edge"`,
    ".SH NAME",
    `${escaped(name)} \\- ${escaped(title)}`,
    ".SH SYNOPSIS",
    `.B ${escaped(name)}`,
    ".I command",
    "[\\fIflags\\fR]",
    ".SH DESCRIPTION",
    filled(text),
    ".PP",
    filled(
      "A flag is written -name value, -name=value or with two dashes; a switch is -name or -name=false. Flags go behind the command, before any other word. Seconds may be written as durations, 1h30m.",
    ),
    ".SH COMMANDS",
    ...commandInfos(program).flatMap((command) => commandLines(name, command)),
    ".SH EXIT STATUS",
    filled("0 when all went well, 1 when something failed, 127 for an unknown command."),
    ".SH ENVIRONMENT",
    ...variables.flatMap(([variable, about]) => item(escaped(variable), about)),
    ".SH FILES",
    ...files.flatMap(([path, about]) => item(`\\fI${escaped(path)}\\fR`, about)),
    ".SH SEE ALSO",
    `.BR ${escaped(other)} (1)`,
    ".PP",
    filled(
      `/usr/share/doc/spire-edge-${name.replace("spire-", "")} has INSTALL.md and other documentation.`,
    ),
  ].join("\n")}\n`;
}

function commandLines(
  program: string,
  { words, synopsis, operands, flags }: CommandInfo,
): string[] {
  const behind = operands === undefined ? "" : ` \\fI${escaped(operands)}\\fR`;
  return [
    `.SS ${escaped(`${program} ${words}`)}${behind}`,
    filled(`${synopsis}.`),
    ...flags.flatMap((flag) => item(flagText(flag), `${flag.help}${defaultOf(flag)}.`)),
  ];
}

function flagText({ name, isSwitch }: FlagInfo): string {
  return `\\fB\\-${escaped(name)}\\fR${isSwitch ? "" : " \\fIvalue\\fR"}`;
}

function defaultOf({ defaultText }: FlagInfo): string {
  return defaultText === undefined ? "" : ` (default ${defaultText})`;
}

function item(label: string, about: string): string[] {
  return [".TP", label, filled(about)];
}

const WIDTH = 78;

/** Text in lines of a length that manual pages have. */
function filled(text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of escaped(text).split(" ")) {
    if (line !== "" && line.length + word.length >= WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((one) => one.replace(/^(?=[.'])/, "\\&")).join("\n");
}

/** A backslash, a dash that is to be typed, and what ASCII has no character for. */
function escaped(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("…", "...")
    .replace(/(?<!\.)\.\.$/, ".");
}
