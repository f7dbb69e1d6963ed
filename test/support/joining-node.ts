/** A node that joins by a word, and what it says when it cannot. */
import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { JoinWord } from "#spiffe/join-word.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { type Daemon, eventually, run } from "./process.ts";
import { executable, type Stage, type TestServer, TRUST_DOMAIN } from "./spire.ts";

export const NODE: string = `spiffe://${TRUST_DOMAIN}/node`;

/** Asked anew each time: a test may put the executables for another machine in the place of these. */
const agent = (): string => executable("ours", "spire-agent");

/** What `-join` prints, which must be the word alone. */
export async function wordOf(from: TestServer, ...words: string[]): Promise<string> {
  const given = await from.cli("token", "generate", "-spiffeID", NODE, "-join", ...words);
  expect(given).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^spirejoin1_[0-9A-Za-z]+\n$/),
    // The test's server is on loopback, or behind a name that only a proxy knows.
    stderr: expect.stringMatching(/^(Warning: the join word names \S+ [^\n]+\n)?$/),
  });
  return given.stdout.trim();
}

/** A node with nothing on it: no configuration file, no bundle. */
export class JoiningNode {
  readonly directory: string;
  readonly socket: string;
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.directory = stage.room("node");
    this.socket = join(this.directory, "public", "api.sock");
  }

  start(words: readonly string[], env: Readonly<Record<string, string>> = {}): Daemon {
    const own = ["-dataDir", join(this.directory, "data"), "-socketPath", this.socket];
    const log = join(this.directory, "agent.log");
    const options = { cwd: this.directory, env };
    return this.#stage.daemon(
      [agent(), "run", ...words, ...own, "-logLevel", "debug"],
      log,
      options,
    );
  }

  async healthy(daemon: Daemon, timeoutMs?: number): Promise<void> {
    const check = async (): Promise<true | undefined> => {
      const { code } = await run([agent(), "healthcheck", "-socketPath", this.socket]);
      if (code !== 0 && !daemon.running) throw new Error(daemon.lines.join("\n"));
      return code === 0 || undefined;
    };
    await eventually("the agent is healthy", check, timeoutMs);
  }

  file(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }

  get isJoined(): boolean {
    const state = readFileSync(join(this.directory, "data", "agent-data.json"), "utf8");
    return JSON.parse(state).svid !== null;
  }
}

/** Joins by a word that is good. */
export async function joins(
  stage: Stage,
  words: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<{ readonly node: JoiningNode; readonly daemon: Daemon }> {
  const node = new JoiningNode(stage);
  const daemon = node.start(words, env);
  await node.healthy(daemon);
  return { node, daemon };
}

/** What an agent ends with that starting it again would not help, and that its unit therefore does not start again. */
export const REFUSED = 77;

/** What an agent says that gives up. @param code what it is to end with */
export async function refusal(
  stage: Stage,
  words: readonly string[],
  env?: Readonly<Record<string, string>>,
  code = 1,
): Promise<{ readonly said: string; readonly node: JoiningNode }> {
  const node = new JoiningNode(stage);
  const daemon = node.start(words, env);
  expect(await daemon.exited).toBe(code);
  return { said: daemon.lines.join("\n"), node };
}

/** The same token for a server at another port. */
export function detoured(word: string, port: number): string {
  const parsed = JoinWord.parse(word);
  const { trustDomain, token, fingerprints } = parsed;
  return JoinWord.of({
    trustDomain,
    token,
    fingerprints,
    address: { host: "127.0.0.1", port },
  }).reveal();
}

export async function fingerprintsOf(of: TestServer): Promise<string[]> {
  return certificatesFromPem(readFileSync(await of.bundleFile(), "utf8"))
    .map(sha256Fingerprint)
    .sort();
}

export function expectNoSecret(said: string, word: string): void {
  expect(said).not.toContain(JoinWord.parse(word).token);
  expect(said).not.toContain(word.slice(-20));
}
