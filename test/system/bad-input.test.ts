/** Bad input of every kind: a clear error that names the thing, exit code 1, and nothing overwritten. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { credentials, type ServiceError } from "@grpc/grpc-js";
import { PREFACE } from "#grpc/http2-frame.fixture.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { createCsr } from "#x509/csr.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

describe("configuration files", () => {
  const cases: readonly [string, (text: string) => string, string][] = [
    [
      "an unknown key, by name and line",
      (text) => text.replace("log_level", "log_leveel"),
      ':7: unknown configuration detected: key "log_leveel"',
    ],
    [
      "a missing trust domain",
      (text) => text.replace(/trust_domain = .*\n/, ""),
      "trust_domain must be configured",
    ],
    [
      "a trust domain that is none",
      (text) => text.replace('"example.org"', '"Example.org"'),
      "could not parse trust_domain",
    ],
    ["a string without end", (text) => text.replace('"DEBUG"', '"DEBUG'), ":7:"],
    ["a brace that is missing", (text) => text.trimEnd().slice(0, -1), '"}" missing at the end'],
    [
      "a key type nobody knows",
      (text) => text.replace("log_level", 'ca_key_type = "ec-p999"\n  log_level'),
      'key type "ec-p999" is unknown',
    ],
    [
      "a duration that is none",
      (text) => text.replace("log_level", 'ca_ttl = "soon"\n  log_level'),
      'could not parse default CA ttl "soon"',
    ],
    [
      "a plugin nobody knows",
      (text) => text.replace('KeyManager "disk"', 'KeyManager "tape"'),
      'no built-in plugin "tape" for type "KeyManager"',
    ],
    [
      "an external plugin",
      (text) =>
        text.replace(
          'NodeAttestor "join_token" {',
          'NodeAttestor "join_token" {\n plugin_cmd = "/bin/true"',
        ),
      "plugin_cmd",
    ],
    [
      "no plugins at all",
      (text) => text.replace(/plugins \{[\s\S]*/, ""),
      "plugins section must be configured",
    ],
  ];

  test.each(cases)("%s", async (_name, spoil, expected) => {
    const server = await TestServer.prepare(stage, "ours");
    writeFileSync(server.configuration, spoil(readFileSync(server.configuration, "utf8")));
    const words = ["-config", server.configuration];
    const started = await run([executable("ours", "spire-server"), "run", ...words]);
    expect(started.stderr).toContain(expected);
    expect(started.code).toBe(1);
    const validated = await run([executable("ours", "spire-server"), "validate", ...words]);
    expect(validated.stderr).toContain("SPIRE server configuration file is invalid");
    expect(validated.code).toBe(1);
  });

  test("a file that is not there", async () => {
    const started = await run([
      executable("ours", "spire-agent"),
      "run",
      "-config",
      "/nonexistent/agent.conf",
    ]);
    expect(started.stderr).toContain(
      "could not find config file /nonexistent/agent.conf: please use the -config flag",
    );
    expect(started.code).toBe(1);
  });
});

describe("files on disk", () => {
  /** Starts a server that must not start, and checks that the file is as it was. */
  async function refuses(name: string, content: string | Uint8Array): Promise<string> {
    const server = await TestServer.prepare(stage, "ours");
    const file = `${server.directory}/data/${name}`;
    writeFileSync(file, content, { mode: 0o600 });
    const daemon = server.launch();
    expect(await daemon.exited).toBe(1);
    expect(Buffer.compare(readFileSync(file), Buffer.from(content))).toBe(0);
    const said = daemon.lines.join("\n");
    expect(said).toContain(file);
    return said;
  }

  test("a keys file that is corrupt", () => refuses("keys.json", '{"keys":{"x509-CA-A":"AAAA"}}'));
  test("a keys file that was cut off", () => refuses("keys.json", '{"keys":{"x509-CA'));
  test("a database that is none", () =>
    refuses("datastore.sqlite3", "this is not SQLite, ".repeat(500)));

  test("a database with a damaged page", async () => {
    const server = await TestServer.start(stage, "ours");
    await server.entry("spiffe://example.org/a", "spiffe://example.org/node", ["unix:uid:1"]);
    await server.daemon.stop();
    const file = `${server.directory}/data/datastore.sqlite3`;
    const bytes = readFileSync(file);
    bytes.fill(0xff, 4096, 4096 * 3);
    writeFileSync(file, bytes);
    const daemon = server.launch();
    expect(await daemon.exited).toBe(1);
    expect(daemon.lines.join("\n")).toContain(file);
    expect(Buffer.compare(readFileSync(file), bytes)).toBe(0);
  });

  test("a data directory that cannot be written to", async () => {
    const room = stage.room("closed");
    mkdirSync(`${room}/closed`, { mode: 0o555 });
    const words = [
      "run",
      "-trustDomain",
      "example.org",
      "-dataDir",
      `${room}/closed/data`,
      "-socketPath",
      `${room}/api.sock`,
    ];
    const started = await run([executable("ours", "spire-server"), ...words], { uid: 1 });
    expect(started.stderr).toContain(`${room}/closed/data`);
    expect(started.code).toBe(1);
  });

  test("an agent's state that is corrupt", async () => {
    const server = await TestServer.start(stage, "ours");
    const agent = await TestAgent.prepare(stage, "ours", server);
    const file = `${agent.directory}/data/agent-data.json`;
    writeFileSync(file, "{");
    const daemon = agent.launch();
    expect(await daemon.exited).toBe(1);
    expect(daemon.lines.join("\n")).toContain(`${file} is corrupt`);
    expect(readFileSync(file, "utf8")).toBe("{");
  });
});

describe("on the wire", () => {
  let server: TestServer;
  let agent: TestAgent;
  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
    agent = await TestAgent.start(stage, "ours", server);
  }, 60_000);

  /** Writes bytes to a socket and waits until the other side closes or five seconds pass. */
  function throwAt(path: string, bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = connect({ path }, () => socket.write(bytes));
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    setTimeout(() => socket.destroy(), 1_000);
    return promise;
  }

  const frames: readonly [string, Uint8Array][] = [
    ["nothing of HTTP/2", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    [
      "a frame larger than allowed",
      Buffer.concat([PREFACE, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    ],
    [
      "headers that are no HPACK",
      Buffer.concat([
        PREFACE,
        Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
      ]),
    ],
    ["random bytes", crypto.getRandomValues(new Uint8Array(65536))],
  ];

  test.each(frames)("%s: both daemons go on", async (_name, bytes) => {
    await Promise.all([throwAt(server.socket, bytes), throwAt(agent.socket, bytes)]);
    expect((await server.cli("healthcheck")).code).toBe(0);
    expect((await agent.cli(["healthcheck"])).code).toBe(0);
    expect(server.daemon.running && agent.daemon.running).toBe(true);
  });

  /** What the server answers a certificate request over its admin socket. */
  function minting(csr: Uint8Array): Promise<ServiceError | null> {
    const { promise, resolve } = Promise.withResolvers<ServiceError | null>();
    const client = new SVIDClient(`unix:${server.socket}`, credentials.createInsecure());
    client.mintX509Svid({ csr, ttl: 60 }, (error) => {
      client.close();
      resolve(error);
    });
    return promise;
  }

  test("a message beyond the limit is refused, and the next one is served", async () => {
    const client = new BundleClient(`unix:${server.socket}`, credentials.createInsecure());
    const { promise, resolve } = Promise.withResolvers<ServiceError | null>();
    const x509Authorities = [{ asn1: new Uint8Array(5 * 1024 * 1024), tainted: false }];
    client.appendBundle(
      { x509Authorities, jwtAuthorities: [], witAuthorities: [], outputMask: undefined },
      (error) => resolve(error),
    );
    expect((await promise)?.code).toBe(StatusCode.RESOURCE_EXHAUSTED);
    client.close();
    expect((await server.cli("bundle", "count")).stdout).toBe("1 bundle\n");
  });

  test("a certificate request that somebody else signed", async () => {
    const victim = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const thief = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const signer = { ...thief, publicKeySpki: victim.publicKeySpki };
    const error = await minting(await createCsr({ signer, uriSan: "spiffe://example.org/a" }));
    expect([error?.code, error?.details]).toEqual([
      StatusCode.INVALID_ARGUMENT,
      "failed to verify CSR signature",
    ]);
  });

  test("a certificate request for a key too weak", async () => {
    const made = await run([
      "openssl",
      "req",
      "-new",
      "-newkey",
      "rsa:1024",
      "-nodes",
      "-keyout",
      "/dev/null",
      "-subj",
      "/",
      "-addext",
      "subjectAltName=URI:spiffe://example.org/a",
    ]);
    const csr = Buffer.from(made.stdout.replace(/-----.*-----|\s/g, ""), "base64");
    const error = await minting(csr);
    expect(error?.code).toBe(StatusCode.INVALID_ARGUMENT);
    expect(error?.details).toContain("RSA key of 1024 bits");
  });

  test("a certificate request that is none", async () => {
    const error = await minting(Buffer.from("not DER at all"));
    expect(error?.code).toBe(StatusCode.INVALID_ARGUMENT);
    expect(error?.details).toContain("malformed CSR");
  });

  test.each([
    [
      "an SPIFFE ID of another trust domain",
      [
        "entry",
        "create",
        "-spiffeID",
        "spiffe://other.org/a",
        "-parentID",
        "spiffe://example.org/b",
        "-selector",
        "unix:uid:1",
      ],
      "is not a member of trust domain",
    ],
    [
      "a SPIFFE ID that is none",
      [
        "entry",
        "create",
        "-spiffeID",
        "spiffe://example.org/a//b",
        "-parentID",
        "spiffe://example.org/b",
        "-selector",
        "unix:uid:1",
      ],
      "path cannot contain empty segments",
    ],
    ["a token that is asked for twice", ["token", "generate", "-ttl", "-1"], "ttl is required"],
    [
      "an SVID for another trust domain",
      ["x509", "mint", "-spiffeID", "spiffe://other.org/a"],
      "trust domain",
    ],
  ])("%s", async (_name, words, expected) => {
    const answer = await server.cli(...words);
    expect(answer.stderr + answer.stdout).toContain(expected);
    expect(answer.code).toBe(1);
  });
});
