/**
 * Transcripts of the command line: what is typed, and what comes back, in one text file that is run against both implementations.
 *
 *     # a comment
 *     << name            a file of the working directory, up to the line <<
 *     …
 *     <<
 *     % words            a command that runs before the server starts; nothing is expected of it but success
 *     $ words < name     a command, with a file on standard input; its expected answer follows
 *     ~ words            the same, repeated until it succeeds
 *     > line             standard output
 *     ! line             standard error
 *     = 1                exit code, 0 when absent
 *     @ NAME pattern     keeps what the pattern's group finds in standard output as $NAME for later lines
 *
 * A last line without a line end is followed by `\`. What differs with every run is shown by its kind, as <uuid>, <time>, <pem>.
 */

export interface Step {
  readonly words: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly input: string | undefined;
  readonly repeat: boolean;
  readonly captures: readonly (readonly [string, RegExp])[];
  /** The answer's lines as in the file. */
  readonly expected: readonly string[];
  /** Where the answer stands in the file's lines, for recording. */
  readonly from: number;
  readonly to: number;
}

export interface Transcript {
  readonly lines: readonly string[];
  /** The files `server-settings.conf` and `server-plugins.conf`, if they are there, are added to the server's configuration. */
  readonly files: ReadonlyMap<string, string>;
  /** Commands to run before the server starts. */
  readonly preparations: readonly (readonly string[])[];
  readonly steps: readonly Step[];
  /** Whether any command is one of the agent's. */
  readonly needsAgent: boolean;
}

export function parseTranscript(text: string): Transcript {
  const lines = text.replace(/\n$/, "").split("\n");
  const files = new Map<string, string>();
  const preparations: string[][] = [];
  const steps: Step[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    if (line.startsWith("<< ")) {
      const end = lines.indexOf("<<", at + 1);
      if (end === -1) throw new Error(`line ${at + 1}: the file has no end`);
      files.set(line.slice(3), `${lines.slice(at + 1, end).join("\n")}\n`);
      at = end + 1;
    } else if (line.startsWith("% ")) {
      preparations.push(splitWords(line.slice(2)));
      at++;
    } else if (/^[$~] /.test(line)) {
      const step = parseStep(lines, at);
      steps.push(step);
      at = step.to;
      while (lines[at]?.startsWith("@ ")) at++;
    } else if (line === "" || line.startsWith("#")) {
      at++;
    } else {
      throw new Error(`line ${at + 1}: what is ${JSON.stringify(line)}?`);
    }
  }
  return {
    lines,
    files,
    preparations,
    steps,
    needsAgent: steps.some(({ words }) => words[0] === "spire-agent"),
  };
}

function parseStep(lines: readonly string[], start: number): Step {
  const line = lines[start] ?? "";
  const words = splitWords(line.slice(2));
  const environment: Record<string, string> = {};
  while (/^[A-Z_]+=/.test(words[0] ?? "")) {
    const [name = "", value = ""] = (words.shift() ?? "").split("=", 2);
    environment[name] = value;
  }
  const input = words.at(-2) === "<" ? words.at(-1) : undefined;
  let to = start + 1;
  while (/^[>!=]/.test(lines[to] ?? "")) to++;
  const captures: [string, RegExp][] = [];
  for (let at = to; lines[at]?.startsWith("@ "); at++) {
    const [, name = "", pattern = ""] = /^@ (\S+) (.*)$/.exec(lines[at] ?? "") ?? [];
    captures.push([name, new RegExp(pattern)]);
  }
  return {
    words: input === undefined ? words : words.slice(0, -2),
    environment,
    input,
    repeat: line.startsWith("~"),
    captures,
    expected: lines.slice(start + 1, to),
    from: start + 1,
    to,
  };
}

/** Words as a shell splits them; quotes group, nothing is expanded. */
function splitWords(text: string): string[] {
  return [...text.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, plain]) => single ?? double ?? plain ?? "",
  );
}

/** An answer as lines of a transcript. */
export function answerLines(
  answer: { readonly code: number; readonly stdout: string; readonly stderr: string },
  variables: ReadonlyMap<string, string>,
): string[] {
  const lines = (mark: string, text: string): string[] => {
    if (text === "") return [];
    const shown = normalize(text, variables);
    const ended = shown.endsWith("\n") ? shown.slice(0, -1) : `${shown}\\`;
    return ended.split("\n").map((line) => (line === "" ? mark : `${mark} ${line}`));
  };
  return [
    ...lines(">", answer.stdout),
    ...lines("!", answer.stderr),
    ...(answer.code === 0 ? [] : [`= ${answer.code}`]),
  ];
}

/** What the implementations say in other words on standard error: that nobody listens on a socket. */
const NO_LISTENER: readonly (readonly [RegExp, string])[] = [
  [
    /rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix (?:\/\/(?=\/))?(\S+): connect: no such file or directory"/g,
    "<nobody listens on $1>",
  ],
  [/no (?:server|agent) listens on (\S+): is .+ running\?/g, "<nobody listens on $1>"],
];

const KINDS: readonly (readonly [RegExp, string])[] = [
  // What a server of ours knows of a node, beside the reference's fields.
  [/"node":\{[^}]*\},/g, ""],
  [/-----BEGIN ([A-Z ]+)-----\n[^-]*-----END \1-----\n/g, "<pem $1>\n"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "<uuid>"],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, "<jwt>"],
  [/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC/g, "<time>"],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "<time>"],
  [
    /(?<="(?:asn1|bundle|private_key|public_key|x509_svid|x509_svid_key|spiffe:\/\/[\w.]+)":")[\w+/=]+/g,
    "<base64>",
  ],
  [/(?<="(?:x509_svid|root_cas)":\[)"[^\]]+"/g, "<base64 list>"],
  [/(?<="(?:x|y|x5c|n|d|p|q|dp|dq|qi|kid|key_id)\\?": ?\\?"?)[\w-]{20,}/g, "<key>"],
  [/(?<="x5c": \[\n\s+")[\w+/=]+/g, "<base64>"],
  [/(?<="(?:\w+_at|last_sync_success|sequence_number|exp|iat)":"?)\d+/g, "<number>"],
  [/(?<="spiffe_sequence": )\d+/g, "<number>"],
  [/(?<=Serial number {5}: |"x509svid_serial_number":")\d+/g, "<serial>"],
  [/(?<=Agent version {5}: |"agent_version":")[\w.-]+/g, "<version>"],
  [/(?<= Authority ID: |"authority_id":")\w{20,}/g, "<authority>"],
  [/(?<=Subject Key ID: )[0-9a-f]{40}/g, "<key ID>"],
  [/(?<= after |Uptime: +)[\d.]+(?:µs|ms|s)/g, "<duration>"],
  [/(?<="uptime":|SERIALNUMBER=)\d+/g, "<number>"],
];

/** Replaces what no two runs share: known values by their names, the rest by its kind. */
function normalize(text: string, variables: ReadonlyMap<string, string>): string {
  let shown = text;
  for (const [name, value] of [...variables].sort((a, b) => b[1].length - a[1].length)) {
    shown = shown.replaceAll(value, `$${name}`);
  }
  for (const [pattern, kind] of [...NO_LISTENER, ...KINDS]) shown = shown.replace(pattern, kind);
  return shown;
}
