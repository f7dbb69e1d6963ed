/**
 * The join word in the agent's configuration: where it comes from, and what must not stand beside it because the word says it. The word is
 * a secret; no message here quotes it.
 */

import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { join, parse } from "node:path";
import type { Block, Problems } from "#config/block.ts";
import { flagOrKey, readTrustDomain } from "#config/settings.ts";
import { obeyed } from "#files/obeyed.ts";
import { proxyFor } from "#http/proxy.ts";
import { type HostPort, parseServerAddress } from "#spiffe/host-port.ts";
import { JoinWord, MAX_JOIN_WORD_LENGTH } from "#spiffe/join-word.ts";
import { looksLikeJoinWord } from "#spiffe/secret-text.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { AgentRunFlags } from "./config.ts";

export interface JoinWordConfig {
  /** As it was at start. */
  readonly joinWord?: JoinWord;
  /** Where it came from, and where an operator puts the word for the next join. */
  readonly joinFile?: string;
}

export interface WhichServer {
  readonly trustDomain: TrustDomain;
  readonly serverAddress: string;
  readonly serverPort: number;
}

/** What `LoadCredential=join:…` in a systemd unit hands over. */
const CREDENTIAL = "join";

/** Whether a word is given by a flag or by systemd, so that nothing else need be. */
export function hasJoinWord(flags: AgentRunFlags): boolean {
  return flags.join !== undefined || flags.joinFile !== undefined || credential() !== undefined;
}

/**
 * Reads the word from flag or key, from a file, or else from systemd's credential, or from what becomes that.
 *
 * @throws ConfigError at once when it is none: what it should have said would be missing everywhere
 */
export function readJoinWord(
  agent: Block,
  flags: AgentRunFlags,
  problems: Problems,
): JoinWordConfig {
  const text = flagOrKey(agent, flags.join, "join");
  const file = flagOrKey(agent, flags.joinFile, "join_file");
  if (text === "") {
    const found = credential() ?? (problems.isFromOutside ? beside(flags.config) : undefined);
    const joinFile = file === "" ? found : file;
    if (joinFile === undefined) return {};
    const read = (): JoinWord => readJoinFile(joinFile);
    return { joinWord: orProblem(read, agent.lineOf("join_file"), problems), joinFile };
  }
  const read = (): JoinWord => {
    if (file === "") return JoinWord.parse(text);
    throw new Error("only one of join or join_file can be specified, not both");
  };
  return { joinWord: orProblem(read, agent.lineOf("join"), problems) };
}

function orProblem<T>(read: () => T, line: number | undefined, problems: Problems): T {
  try {
    return read();
  } catch (error) {
    problems.add(errorText(error), line);
    problems.check(error);
    throw error;
  }
}

/** @throws Error naming the file */
function readJoinFile(path: string): JoinWord {
  try {
    return JoinWord.parse(readBeginning(obeyed(path)));
  } catch (error) {
    throw new Error(`unable to read join word from ${path}: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/**
 * The word that is in the file by now.
 *
 * @returns undefined where it cannot be read a second time: the file was taken away or emptied, or is a pipe, as a shell makes for `<(…)`
 * @throws Error naming the file
 */
export function rereadJoinFile(path: string): JoinWord | undefined {
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  return isFile && !isBlank(path) ? readJoinFile(path) : undefined;
}

function isBlank(path: string): boolean {
  return readBeginning(path).trim() === "";
}

/** One character more than a word may have is enough to see that there are too many. */
function readBeginning(path: string): string {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(MAX_JOIN_WORD_LENGTH + 1);
    let length = 0;
    for (;;) {
      const read = readSync(file, bytes, length, bytes.length - length, null);
      length += read;
      if (read === 0 || length === bytes.length) return bytes.toString("latin1", 0, length);
    }
  } finally {
    closeSync(file);
  }
}

/** The path of the credential; undefined when there is none, or an empty one, which the unit has in place of a file that is not there. */
function credential(): string | undefined {
  const directory = process.env["CREDENTIALS_DIRECTORY"] ?? "";
  const path = join(directory, CREDENTIAL);
  if (directory === "" || !existsSync(path)) return undefined;
  return isBlank(path) ? undefined : path;
}

/** What the units hand over, found from outside of them: for agent.conf the file `join`, for NAME.conf the file NAME.join. */
function beside(configuration: string | undefined): string | undefined {
  if (configuration === undefined) return undefined;
  const { dir, name } = parse(configuration);
  const path = join(dir, name === "agent" ? "join" : `${name}.join`);
  return existsSync(path) && !isBlank(path) ? path : undefined;
}

/** Where the server is, and of what trust domain: from the word, or from flags and keys; where both say it, they must say the same. */
export function readServer(
  agent: Block,
  flags: AgentRunFlags,
  word: JoinWord | undefined,
  defaultPort: number | undefined,
  problems: Problems,
): WhichServer {
  const given = readAddress(agent, flags, problems);
  if (word !== undefined) return serverOf(word, given, agent, flags, problems);
  const serverAddress = given.host ?? "";
  const serverPort = given.port ?? defaultPort;
  const isAddressSet = flagOrKey(agent, flags.serverAddress, "server_address") !== "";
  if (!isAddressSet) {
    problems.add("server_address must be configured, or a join word (join_file)");
  }
  if (serverPort === undefined && (!isAddressSet || serverAddress !== "")) {
    problems.add("server_port must be configured");
  }
  if (serverAddress !== "") checkProxy({ host: serverAddress, port: serverPort ?? 0 }, problems);
  const trustDomain = readTrustDomain(agent, flags.trustDomain, problems);
  return { trustDomain, serverAddress, serverPort: serverPort ?? 0 };
}

interface GivenServer {
  readonly host?: string;
  readonly port?: number | undefined;
}

/** What flags and keys say of it; a flag counts for more than a key, with all that it says. */
function readAddress(agent: Block, flags: AgentRunFlags, problems: Problems): GivenServer {
  const address = flagOrKey(agent, flags.serverAddress, "server_address");
  const portKey = agent.number("server_port");
  const isKey = flags.serverAddress === undefined;
  const line = agent.lineOf(isKey && address !== "" ? "server_address" : "server_port");
  if (looksLikeJoinWord(address)) {
    problems.add("server_address is a join word; give it as join", line);
    return {};
  }
  try {
    if (address === "") return { port: flags.serverPort ?? portKey };
    const inFlag = isKey ? undefined : parseServerAddress(address, flags.serverPort);
    return parseServerAddress(address, flags.serverPort ?? inFlag?.port ?? portKey);
  } catch (error) {
    problems.add(`server_address: ${errorText(error)}`, line);
    return {};
  }
}

/** A proxy that is of no use shows before the agent starts. That of another process's environment is that process's business. */
function checkProxy({ host, port }: HostPort, problems: Problems): void {
  if (problems.isFromOutside) return;
  try {
    proxyFor(host, port, process.env);
  } catch (error) {
    problems.add(errorText(error));
  }
}

function serverOf(
  { address: { host, port }, trustDomain }: JoinWord,
  beside: GivenServer,
  agent: Block,
  flags: AgentRunFlags,
  problems: Problems,
): WhichServer {
  const isDomainGiven = flagOrKey(agent, flags.trustDomain, "trust_domain") !== "";
  const given = isDomainGiven ? readTrustDomain(agent, flags.trustDomain, problems) : trustDomain;
  for (const [key, inWord, outside] of [
    ["server_address", host, beside.host ?? host],
    ["server_port", port, beside.port ?? port],
    ["trust_domain", trustDomain.name, given.name],
  ] as const) {
    if (outside === inWord) continue;
    problems.add(
      `${key} is ${outside}, but the join word says ${inWord}: leave ${key} out, or join by another word`,
      agent.lineOf(key),
    );
  }
  checkProxy({ host, port }, problems);
  return { trustDomain, serverAddress: host, serverPort: port };
}

/** Reports the keys that are set and would be used instead of what the word says. */
export function refuseBesideJoinWord(
  agent: Block,
  given: readonly string[],
  problems: Problems,
): void {
  for (const key of given) {
    problems.add(
      `${key} cannot be given together with a join word, which takes its place; leave one out`,
      agent.lineOf(key),
    );
  }
}

/** @throws Error when a join word stands where its token belongs: it would be sent as one */
export function refuseJoinWordAsToken(token: string): void {
  if (!looksLikeJoinWord(token)) return;
  throw new Error(
    "a join word is given as a join token; give it by -join, -joinFile, join or join_file",
  );
}
