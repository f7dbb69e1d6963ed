/** A node that joins by one word: whom it does not believe, and what is said when the word or the server is not right. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { bindService } from "#grpc/bind.ts";
import { listenTls, type TlsListener } from "#grpc/tls-listener.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { AgentService } from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleService } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { certificatesFromPem, certificatesToPem, encodePem } from "#x509/pem.ts";
import {
  detoured,
  expectNoSecret,
  fingerprintsOf,
  JoiningNode,
  joins,
  REFUSED,
  refusal,
  wordOf,
} from "../support/joining-node.ts";
import { run } from "../support/process.ts";
import { executable, Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

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

describe("the token stays with the node when", () => {
  /** The token was never used: a good word with it still lets a node in. */
  async function expectUnused(word: string): Promise<void> {
    await joins(stage, ["-join", detoured(word, server.port)]);
  }

  test("another server of the same trust domain answers; both fingerprints are told", async () => {
    const other = await TestServer.start(stage, "ours");
    const word = detoured(await wordOf(server), other.port);
    const { said, node } = await refusal(stage, ["-join", word]);
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
    const { said, node } = await refusal(stage, ["-join", word]);
    expect(said).toContain("is signed by none of the authorities that the join word names");
    expect(asked).toEqual(["bundle"]);
    expect(node.isJoined).toBe(false);
    await expectUnused(word);
  }, 60_000);
});

describe("what is wrong is said, and the word is not", () => {
  /** A word that is none does not become one by starting the agent again. */
  const endsWith = (problem: string): number =>
    ["was cut off or mistyped", "this is no join word"].includes(problem) ? REFUSED : 1;
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
      "server_address is a join word; give it as join",
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
    const { said } = await refusal(stage, words(word), {}, endsWith(problem));
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
    expect(code).toBe(endsWith(problem));
    expect(stderr).toContain(`${path}:2`);
    expect(stderr).toContain(problem);
    expectNoSecret(stderr, word);
  });
});

test("a word that only root may read is of no use to an agent of another user, and the error says so", async () => {
  const node = new JoiningNode(stage);
  const path = node.file("join", await wordOf(server));
  chmodSync(path, 0o600);
  const words = [AGENT, "run", "-joinFile", path, "-dataDir", join(node.directory, "data")];
  const { code, stderr } = await run(words, { uid: 1 });
  expect(code).toBe(1);
  expect(stderr).toContain(`unable to read join word from ${path}: EACCES: permission denied`);
});
