/** A node joins by one word: whom it believes, what it sends to whom, and what is said when the word or the server is not right. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { bindService } from "#grpc/bind.ts";
import { AgentService } from "#grpc/gen/spire/api/server/agent/v1/agent.ts";
import { BundleService } from "#grpc/gen/spire/api/server/bundle/v1/bundle.ts";
import { listenTls, type TlsListener } from "#grpc/tls-listener.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { JoinWord } from "#spiffe/join-word.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";
import { certificatesFromPem, certificatesToPem, encodePem } from "#x509/pem.ts";
import { type Daemon, eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const NODE = `spiffe://${TRUST_DOMAIN}/node`;
const AGENT = executable("ours", "spire-agent");
const stage = new Stage();
const opened: TlsListener[] = [];
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(async () => {
  for (const listener of opened) await listener.close(0);
  await stage.close();
}, 60_000);

/** What `-join` prints, which must be the word alone. */
async function wordOf(from: TestServer, ...words: string[]): Promise<string> {
  const given = await from.cli("token", "generate", "-spiffeID", NODE, "-join", ...words);
  expect(given).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^spirejoin1_[0-9A-Za-z]+\n$/),
    stderr: "",
  });
  return given.stdout.trim();
}

/** A node with nothing on it: no configuration file, no bundle. */
class Node {
  readonly directory: string = stage.room("node");
  readonly socket: string = join(this.directory, "public", "api.sock");

  start(words: readonly string[], env: Readonly<Record<string, string>> = {}): Daemon {
    const own = ["-dataDir", join(this.directory, "data"), "-socketPath", this.socket];
    const log = join(this.directory, "agent.log");
    const options = { cwd: this.directory, env };
    return stage.daemon([AGENT, "run", ...words, ...own, "-logLevel", "debug"], log, options);
  }

  async healthy(daemon: Daemon): Promise<void> {
    await eventually("the agent is healthy", async () => {
      const { code } = await run([AGENT, "healthcheck", "-socketPath", this.socket]);
      if (code !== 0 && !daemon.running) throw new Error(daemon.lines.join("\n"));
      return code === 0 || undefined;
    });
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
async function joins(words: readonly string[], env?: Readonly<Record<string, string>>) {
  const node = new Node();
  const daemon = node.start(words, env);
  await node.healthy(daemon);
  return { node, daemon };
}

/** What an agent says that gives up. */
async function refusal(
  words: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<{ readonly said: string; readonly node: Node }> {
  const node = new Node();
  const daemon = node.start(words, env);
  expect(await daemon.exited).toBe(1);
  return { said: daemon.lines.join("\n"), node };
}

/** The same token for a server at another port. */
function detoured(word: string, port: number): string {
  const parsed = JoinWord.parse(word);
  const { trustDomain, token, fingerprints } = parsed;
  return JoinWord.of({
    trustDomain,
    token,
    fingerprints,
    address: { host: "127.0.0.1", port },
  }).reveal();
}

async function fingerprintsOf(of: TestServer): Promise<string[]> {
  return certificatesFromPem(readFileSync(await of.bundleFile(), "utf8"))
    .map(sha256Fingerprint)
    .sort();
}

function expectNoSecret(said: string, word: string): void {
  expect(said).not.toContain(JoinWord.parse(word).token);
  expect(said).not.toContain(word.slice(-20));
}

describe("a word", () => {
  test("holds the server's address, its trust domain and its authorities", async () => {
    const word = JoinWord.parse(await wordOf(server));
    expect(word.trustDomain.name).toBe(TRUST_DOMAIN);
    expect(word.address).toEqual({ host: "127.0.0.1", port: server.port });
    expect(word.fingerprints).toEqual(await fingerprintsOf(server));
  });

  test("is all that an agent needs; used up, it starts that agent again, and no other", async () => {
    const word = await wordOf(server);
    await server.entry(`spiffe://${TRUST_DOMAIN}/db`, NODE, [`unix:uid:${process.getuid?.()}`]);
    const { node, daemon } = await joins(["-join", word]);
    const commandLine = readFileSync(`/proc/${daemon.pid}/cmdline`, "latin1").split("\0");
    expect(commandLine.slice(1, 4)).toEqual(["run", "-join", "x".repeat(word.length)]);
    await eventually("the workload's identity", async () => {
      const fetch = [AGENT, "api", "fetch", "x509", "-socketPath", node.socket];
      return (await run(fetch)).stdout.includes(`spiffe://${TRUST_DOMAIN}/db`) || undefined;
    });
    await daemon.stop();
    const again = node.start(["-join", word]);
    await node.healthy(again);
    expect(again.lines.join("\n")).toContain("SVID loaded");
    expectNoSecret(
      [...daemon.lines, ...again.lines].join("\n").replaceAll(/join_token\/\S+/g, ""),
      word,
    );
    const { said } = await refusal(["-join", word]);
    expect(said).toContain("join token does not exist or has already been used");
  }, 60_000);

  test("may be in a file, which may be gone later, or in a credential of systemd", async () => {
    const word = await wordOf(server);
    const files = stage.room("etc");
    const path = join(files, "join");
    writeFileSync(path, `${word}\n`);
    const { node, daemon } = await joins(["-joinFile", path]);
    const own = ["-dataDir", join(node.directory, "data"), "-socketPath", node.socket];
    expect(await run([AGENT, "doctor", "-joinFile", path, ...own])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("answers, and is trusted"),
    });
    await daemon.stop();
    // The same word by another way: it starts the agent that it let in.
    await node.healthy(node.start([], { CREDENTIALS_DIRECTORY: files }));
    writeFileSync(path, await wordOf(server));
    await joins([], { CREDENTIALS_DIRECTORY: files });
    writeFileSync(path, "");
    const { said } = await refusal([], { CREDENTIALS_DIRECTORY: files });
    expect(said).toContain("could not find config file");
  }, 60_000);

  test("may come through a pipe, which is read once", async () => {
    const node = new Node();
    const word = await wordOf(server);
    const own = ["-dataDir", join(node.directory, "data"), "-socketPath", node.socket];
    const script = 'exec "$0" run -joinFile <(echo "$WORD") "$@"';
    const command = ["bash", "-c", script, AGENT, ...own];
    const env = { WORD: word };
    const daemon = stage.daemon(command, join(node.directory, "agent.log"), { env });
    await node.healthy(daemon);
  }, 60_000);

  test("stands in a configuration file in place of what it says", async () => {
    const path = join(stage.room("etc"), "join");
    writeFileSync(path, await wordOf(server));
    const agent = await TestAgent.prepare(stage, "ours", server, {
      token: "none",
      trustBundle: "",
      settings: `join_file = "${path}"`,
    });
    const text = readFileSync(agent.configuration, "utf8");
    const shorter = text.replaceAll(
      /^ *(join_token|server_address|server_port|trust_domain) = .*\n/gm,
      "",
    );
    expect(shorter.length).toBeLessThan(text.length);
    writeFileSync(agent.configuration, shorter);
    await agent.start();
  }, 60_000);

  test("lets a node in again that lost its disk, as the agent it was", async () => {
    const { node, daemon } = await joins(["-join", await wordOf(server)]);
    const [, id = ""] = /spiffe_id="?(spiffe:\S+?)"?(?:\s|$)/.exec(daemon.lines.join("\n")) ?? [];
    await daemon.stop();
    rmSync(join(node.directory, "data"), { recursive: true });
    const given = await server.cli("agent", "rejoin", "-spiffeID", id, "-join");
    expect({ code: given.code, stderr: given.stderr }).toEqual({ code: 0, stderr: "" });
    const again = node.start(["-join", given.stdout.trim()]);
    await node.healthy(again);
    expect(again.lines.join("\n")).toContain(id);
  }, 60_000);

  test("that is laid out anew lets an agent in again that runs, and whose SVID has expired", async () => {
    const brief = await TestServer.start(stage, "ours", { settings: 'agent_ttl = "3s"' });
    const node = new Node();
    const path = node.file("join", await wordOf(brief));
    const daemon = node.start(["-joinFile", path]);
    await node.healthy(daemon);
    await daemon.stop();
    const { svid } = JSON.parse(readFileSync(join(node.directory, "data/agent-data.json"), "utf8"));
    const leaf = new X509Certificate(Buffer.from(svid[0], "base64"));
    await eventually(
      "the agent's SVID has expired",
      async () => Date.parse(leaf.validTo) < systemClock.nowMs() || undefined,
    );
    const again = node.start(["-joinFile", path]);
    await again.line((line) => line.includes("a new join word into the join_file"));
    writeFileSync(path, await wordOf(brief));
    await again.line((line) => line.includes("Successfully reattested node"));
  }, 60_000);

  test("is taken back as its token is", async () => {
    const word = await wordOf(server);
    const options = { input: `${word}\n` };
    const deleted = await server.cliOf("ours", ["token", "delete", "-file", "-"], options);
    expect(deleted).toEqual({ code: 0, stdout: "Token deleted.\n", stderr: "" });
    const { said } = await refusal(["-join", word]);
    expect(said).toContain("join token does not exist or has already been used");
  }, 60_000);
});

describe("the token stays with the node when", () => {
  /** The token was never used: a good word with it still lets a node in. */
  async function expectUnused(word: string): Promise<void> {
    await joins(["-join", detoured(word, server.port)]);
  }

  test("another server of the same trust domain answers; both fingerprints are told", async () => {
    const other = await TestServer.start(stage, "ours");
    const word = detoured(await wordOf(server), other.port);
    const { said, node } = await refusal(["-join", word]);
    for (const fingerprint of [
      ...(await fingerprintsOf(server)),
      ...(await fingerprintsOf(other)),
    ]) {
      expect(said).toContain(fingerprint);
    }
    expect(said).toContain("The token was not sent");
    expect(said).toContain("somebody else answers at that address");
    expectNoSecret(said, word);
    expect(node.isJoined).toBe(false);
    expect(other.daemon.lines.join("\n")).not.toContain("AttestAgent");
    await expectUnused(word);
  }, 60_000);

  test("somebody in the middle shows the right bundle, with a certificate of another server", async () => {
    const other = await TestServer.start(stage, "ours");
    const genuine = certificatesFromPem(readFileSync(await server.bundleFile(), "utf8"));
    const minted = await other.json(
      "x509",
      "mint",
      "-spiffeID",
      `spiffe://${TRUST_DOMAIN}/impostor`,
    );
    const asked: string[] = [];
    const log = createLog({ level: "error", format: "text" }, () => systemClock.nowMs(), {
      write: () => undefined,
    });
    const bundle = bindService(
      BundleService,
      {
        getBundle: async () => {
          asked.push("bundle");
          return {
            trustDomain: TRUST_DOMAIN,
            x509Authorities: genuine.map((asn1) => ({ asn1, tainted: false })),
            jwtAuthorities: [],
            witAuthorities: [],
            refreshHint: 0,
            sequenceNumber: 0,
          };
        },
      },
      { log },
    );
    const agent = bindService(
      AgentService,
      {
        attestAgent: async () => {
          asked.push("token");
        },
      },
      { log },
    );
    const listener = await listenTls({
      host: "127.0.0.1",
      port: 0,
      identity: {
        privateKeyPem: encodePem(
          "PRIVATE KEY",
          Buffer.from(String(minted["private_key"]), "base64"),
        ),
        certificateChainPem: certificatesToPem(
          (minted["x509_svid"] as string[]).map((der) => Buffer.from(der, "base64")),
        ),
      },
      policy: tlsPolicy(false),
      services: [bundle, agent],
      log,
    });
    opened.push(listener);
    const port = Number(/:(\d+)$/.exec(listener.address)?.[1]);
    const word = detoured(await wordOf(server), port);
    const { said, node } = await refusal(["-join", word]);
    expect(said).toContain("is signed by none of the authorities that the join word names");
    expect(asked).toEqual(["bundle"]);
    expect(node.isJoined).toBe(false);
    await expectUnused(word);
  }, 60_000);
});

describe("a server with other authorities since", () => {
  async function order(of: TestServer, ...words: string[]): Promise<string> {
    const answer = await of.cli("localauthority", "x509", ...words);
    if (answer.code !== 0) throw new Error(answer.stderr);
    return /Authority ID: (\w+)/.exec(answer.stdout)?.[1] ?? "";
  }

  test("is joined by a word that names the authority prepared then, and by none of before", async () => {
    const rotated = await TestServer.start(stage, "ours");
    const first = await order(rotated, "show");
    const early = await wordOf(rotated);
    const second = await order(rotated, "prepare");
    const late = await wordOf(rotated);
    expect(JoinWord.parse(late).fingerprints).toHaveLength(2);
    await order(rotated, "activate", "-authorityID", second);
    await order(rotated, "taint", "-authorityID", first);
    const tainted = await refusal(["-join", early]);
    expect(tainted.said).toContain("is signed by none of the authorities that the join word names");
    expect(JoinWord.parse(await wordOf(rotated)).fingerprints).toHaveLength(1);
    await joins(["-join", late]);
    await order(rotated, "revoke", "-authorityID", first);
    const revoked = await refusal(["-join", early]);
    expect(revoked.said).toContain("has none of the authorities that the join word names");
    expect(revoked.said).toContain("make a new word there");
    await joins(["-join", renewed(early, late)]);
  }, 90_000);

  test("is joined again by a node that was away meanwhile, once that has forgotten them", async () => {
    const rotated = await TestServer.start(stage, "ours");
    const first = await order(rotated, "show");
    const node = new Node();
    const daemon = node.start(["-join", await wordOf(rotated)]);
    await node.healthy(daemon);
    const id = /spiffe:\/\/\S+\/join_token\/[\w-]+/.exec(daemon.lines.join("\n"))?.[0] ?? "";
    await daemon.stop();
    await order(rotated, "activate", "-authorityID", await order(rotated, "prepare"));
    await order(rotated, "taint", "-authorityID", first);
    await order(rotated, "revoke", "-authorityID", first);
    const { stdout: again } = await rotated.cli("agent", "rejoin", "-spiffeID", id, "-join");
    rmSync(join(node.directory, "data", "agent-data.json"));
    const returned = node.start(["-join", again.trim()]);
    await node.healthy(returned);
    const { agents } = await rotated.json("agent", "list");
    expect(agents).toMatchObject([{ id: { path: new URL(id).pathname } }]);
  }, 60_000);

  /** The token of one word with the authorities of another. */
  function renewed(early: string, late: string): string {
    const { trustDomain, address, fingerprints } = JoinWord.parse(late);
    const { token } = JoinWord.parse(early);
    return JoinWord.of({ trustDomain, address, fingerprints, token }).reveal();
  }
});

describe("what is wrong is said, and the word is not", () => {
  let word: string;
  beforeAll(async () => {
    word = await wordOf(server);
  });

  test.each<[string, (word: string) => readonly string[], string]>([
    ["a word that was cut off", (w) => ["-join", w.slice(0, -5)], "was cut off or mistyped"],
    [
      "a word that was mistyped",
      (w) => ["-join", w.replace(/.$/, (c) => (c === "a" ? "b" : "a"))],
      "was cut off or mistyped",
    ],
    ["a token in place of a word", () => ["-join", "4e1243bd"], "this is no join word"],
    [
      "a word in place of a token",
      (w) => ["-joinToken", w, "-serverAddress", "a", "-trustDomain", "b"],
      "a join word is given as a join token",
    ],
    [
      "a word in place of an address",
      (w) => ["-serverAddress", w, "-trustDomain", "b"],
      "is no address of a server",
    ],
    [
      "a word as a number",
      (w) => ["-serverPort", w],
      'invalid value "spirejoin…" for flag -serverPort',
    ],
    ["three dashes", (w) => [`---join=${w}`], "bad flag syntax: ---join=spirejoin…"],
    ["no space", (w) => [`-join${w}`], "flag provided but not defined: -joinspirejoin…"],
    [
      "a file that is not there",
      () => ["-joinFile", "/nowhere/join"],
      "unable to read join word from /nowhere/join",
    ],
    ["two words", (w) => ["-join", w, "-joinFile", "/nowhere"], "only one of join or join_file"],
    [
      "another trust domain",
      (w) => ["-join", w, "-trustDomain", "other"],
      "trust_domain is other, but the join word says example.org",
    ],
    [
      "another address",
      (w) => ["-join", w, "-serverAddress", "other:1"],
      "server_address is other, but the join word says 127.0.0.1",
    ],
    [
      "a token beside it",
      (w) => ["-join", w, "-joinToken", "t"],
      "join_token cannot be given together with a join word",
    ],
    [
      "a bundle beside it",
      (w) => ["-join", w, "-trustBundle", "f"],
      "trust_bundle_path cannot be given together with a join word",
    ],
    [
      "blind trust beside it",
      (w) => ["-join", w, "-insecureBootstrap"],
      "insecure_bootstrap cannot be given together with a join word",
    ],
  ])("%s", async (_, words, problem) => {
    const { said } = await refusal(words(word));
    expect(said).toContain(problem);
    expectNoSecret(said, word);
  });

  test.each([
    ["in quotes", (w: string) => `join = "${w.slice(0, -1)}"`, "was cut off or mistyped"],
    ["without", (w: string) => `join = ${w}`, "a value expected"],
    [
      "under another key",
      (w: string) => `log_level = "${w}"`,
      'log_level "spirejoin…" is not one of',
    ],
  ])("in a file: %s", async (_, line, problem) => {
    const path = join(stage.room("conf"), "agent.conf");
    writeFileSync(path, `agent {\n  ${line(word)}\n}\nplugins {}\n`);
    const { code, stderr } = await run([AGENT, "run", "-config", path]);
    expect(code).toBe(1);
    expect(stderr).toContain(`${path}:2`);
    expect(stderr).toContain(problem);
    expectNoSecret(stderr, word);
  });
});

describe("token generate -join", () => {
  const generate = (...words: string[]): Promise<Finished> =>
    server.cli("token", "generate", "-join", ...words);

  test("puts the address in that agents are to use", async () => {
    const word = await wordOf(server, "-serverAddress", "[2001:db8::1]:443");
    expect(JoinWord.parse(word).address).toEqual({ host: "2001:db8::1", port: 443 });
    const other = await TestServer.start(stage, "ours", {
      settings: 'join_address = "spire.example.org:443"',
    });
    expect(JoinWord.parse(await wordOf(other)).address).toEqual({
      host: "spire.example.org",
      port: 443,
    });
    const named = JoinWord.parse(await wordOf(other, "-serverAddress", "spire-2.example.org"));
    expect(named.address).toEqual({ host: "spire-2.example.org", port: 443 });
  }, 60_000);

  test("says what it guessed, and that the node has no name", async () => {
    const open = await TestServer.prepare(stage, "ours");
    const text = readFileSync(open.configuration, "utf8");
    writeFileSync(open.configuration, text.replace('bind_address = "127.0.0.1"', ""));
    await open.start();
    const { code, stdout, stderr } = await open.cli("token", "generate", "-join");
    expect(code).toBe(0);
    const { address } = JoinWord.parse(stdout);
    expect(address.port).toBe(open.port);
    expect(stderr).toContain(`Agents will look for the server at ${address.host}:${open.port}`);
    expect(stderr).toEndWith("\nWarning: Missing SPIFFE ID.\n");
  }, 60_000);

  test("as JSON", async () => {
    const { stdout } = await generate("-output", "json");
    const { expires_at: expiresAt, join: word, ...rest } = JSON.parse(stdout);
    expect(rest).toEqual({});
    expect(JoinWord.parse(word).address.port).toBe(server.port);
    expect(Number(expiresAt)).toBeGreaterThan(systemClock.nowSeconds());
  });

  test("makes no token that no word can carry", async () => {
    const before = await server.cli("entry", "count");
    for (const [words, problem] of [
      [["-serverAddress", "a b", "-spiffeID", NODE], '"a b" is no address of a server'],
      [["-serverAddress", "host:0", "-spiffeID", NODE], '"host:0" is no address of a server'],
    ] as const) {
      expect(await generate(...words)).toMatchObject({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining(problem),
      });
    }
    expect(await server.cli("entry", "count")).toEqual(before);
    const alone = await server.cli("token", "generate", "-serverAddress", "host:1");
    expect(alone.stderr).toBe("Error: serverAddress is for a join word: give -join too\n");
  });
});

test("a word that only root may read is of no use to an agent of another user, and the error says so", async () => {
  const node = new Node();
  const path = node.file("join", await wordOf(server));
  chmodSync(path, 0o600);
  const words = [AGENT, "run", "-joinFile", path, "-dataDir", join(node.directory, "data")];
  const { code, stderr } = await run(words, { uid: 1 });
  expect(code).toBe(1);
  expect(stderr).toContain(`unable to read join word from ${path}: EACCES: permission denied`);
});
