/** `spire-server doctor` beside real servers, each with something else that is wrong. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { now, pkcs8 } from "../support/nodes.ts";
import { eventually, type Finished, freePort, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

interface Finding {
  readonly check: string;
  readonly level: "OK" | "WARN" | "FAIL";
  readonly message: string;
  readonly advice: string;
}

const data = (server: TestServer, name = ""): string => join(server.directory, "data", name);

function doctor(
  server: TestServer,
  words: readonly string[] = [],
  uid?: number,
): Promise<Finished> {
  const command = [executable("ours", "spire-server"), "doctor", "-config", server.configuration];
  return run([...command, ...words], uid === undefined ? {} : { uid });
}

/** What is not as it should be. */
async function problems(server: TestServer, uid?: number): Promise<readonly Finding[]> {
  const told = await doctor(server, ["-output", "json"], uid);
  const { result, findings } = JSON.parse(told.stdout) as {
    readonly result: string;
    readonly findings: readonly Finding[];
  };
  const wrong = findings.filter(({ level }) => level !== "OK");
  const worst = findings.some(({ level }) => level === "FAIL") ? "FAIL" : "WARN";
  expect(result).toBe(wrong.length === 0 ? "OK" : worst);
  expect(told.code).toBe(result === "FAIL" ? 1 : 0);
  expect(wrong.filter(({ advice }) => advice === "")).toEqual([]);
  return wrong;
}

const named = (findings: readonly Finding[]): string[] =>
  findings.map(({ check, level }) => `${level} ${check}`);

describe("a server in order", () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
    const agent = await TestAgent.start(stage, "ours", server);
    await server.entry(`spiffe://${TRUST_DOMAIN}/a`, agent.id, ["unix:uid:1"]);
    await server.token();
  }, 60_000);

  test("has no problem, and each check is told", async () => {
    const told = await doctor(server);
    expect(told.stderr).toBe("");
    expect(told.code).toBe(0);
    const checks = [...told.stdout.matchAll(/^OK +(\w+)/gm)].map(([, check]) => check);
    expect(new Set(checks)).toEqual(
      new Set([
        ...["configuration", "data_directory", "private_keys", "disk_space", "database", "clock"],
        ...["join_tokens", "socket", "health", "server_svid", "x509_authority", "jwt_authority"],
        ...["trust_bundle", "federation", "agents", "agents_port"],
      ]),
    );
    expect(told.stdout).toContain(`valid, for trust domain ${TRUST_DOMAIN}`);
    expect(told.stdout).toMatch(/1 have joined, 0 are banned; versions: \d/);
    expect(told.stdout).toContain("1 wait for their nodes");
    expect(told.stdout).toMatch(/\n\d+ OK, 0 WARN, 0 FAIL\n$/);
  });

  test("that is stopped is looked at without a trace", async () => {
    await server.daemon.stop();
    const before = readdirSync(data(server));
    const { mtimeMs } = statSync(data(server, "datastore.sqlite3"));
    expect(named(await problems(server))).toEqual([
      ...["FAIL socket", "FAIL health", "FAIL agents_port"],
    ]);
    expect(readdirSync(data(server))).toEqual(before);
    expect(statSync(data(server, "datastore.sqlite3")).mtimeMs).toBe(mtimeMs);
    await server.start();
    expect(await problems(server)).toEqual([]);
  });

  test("is not looked into by a user who may not", async () => {
    const found = await problems(server, 2);
    expect(named(found)).toContain("FAIL private_keys");
    expect(named(found)).toContain("FAIL health");
    expect(found.find(({ check }) => check === "private_keys")?.message).toContain("EACCES");
  });
});

test("what others may read or write, what does not fit, and what has run out", async () => {
  const server = await TestServer.start(stage, "ours", {
    settings: `ca_ttl = "12h"\n default_x509_svid_ttl = "8h"\n agent_ttl = "3s"`,
  });
  const agent = await TestAgent.start(stage, "ours", server);
  await agent.daemon.kill();
  await server.cli("token", "generate", "-spiffeID", `spiffe://${TRUST_DOMAIN}/x`, "-ttl", "1");
  chmodSync(data(server), 0o755);
  chmodSync(data(server, "keys.json"), 0o644);
  chmodSync(server.socket, 0o777);
  const found = await eventually("token and agent have expired", async () => {
    const now = await problems(server);
    return named(now).includes("WARN agents") && named(now).includes("WARN join_tokens")
      ? now
      : undefined;
  });
  expect(named(found)).toEqual([
    "WARN configuration",
    "WARN data_directory",
    "FAIL private_keys",
    "WARN join_tokens",
    "FAIL socket",
    "WARN agents",
  ]);
  const messages = found.map(({ message }) => message).join("\n");
  expect(messages).toContain("default_x509_svid_ttl of 8h0m0s can be cut short");
  expect(messages).toContain("keys.json, mode 0644, of user 0, is open to others");
  expect(messages).toContain(agent.id);
  chownSync(data(server), 1, 1);
  chmodSync(data(server, "keys.json"), 0o600);
  const owned = await problems(server);
  expect(owned.find(({ check }) => check === "private_keys")?.advice).toBe(
    `chown 1 ${data(server, "keys.json")}`,
  );
}, 60_000);

test("a configuration that is wrong is told line by line, and the server is asked all the same", async () => {
  const server = await TestServer.start(stage, "ours");
  const text = readFileSync(server.configuration, "utf8");
  writeFileSync(server.configuration, text.replace("log_level", 'ca_ttll = "1h"\n  log_levle'));
  const told = await doctor(server, ["-socketPath", server.socket]);
  expect(told.code).toBe(1);
  expect(told.stdout).toContain("FAIL  configuration   ");
  expect(told.stdout).toContain('key "ca_ttll" in the server block; did you mean "ca_ttl"?');
  expect(told.stdout).toContain('key "log_levle"');
  expect(told.stdout).toMatch(/^OK +health/m);
  writeFileSync(server.configuration, text.replace("bind_port", "bind_port = 1\n  bind_port"));
  expect(await problems(server)).toEqual([]);
});

describe("a database", () => {
  let server: TestServer;
  const path = (): string => data(server, "datastore.sqlite3");
  const changed = (sql: string): void => {
    const db = new Database(path());
    db.run(sql);
    db.close();
    // What is no server's stays as a server would leave it.
    for (const name of readdirSync(data(server))) {
      if (/-(wal|shm)$/.test(name)) throw new Error(`${name} was left`);
    }
  };
  const found = async (): Promise<readonly Finding[]> =>
    (await problems(server)).filter(({ check }) => check === "database" || check === "clock");

  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
    await server.entry(`spiffe://${TRUST_DOMAIN}/a`, `spiffe://${TRUST_DOMAIN}/b`, ["unix:uid:1"]);
    await server.daemon.stop();
  }, 60_000);

  test("with what was stored ahead of the clock", async () => {
    changed(`UPDATE entries SET created_at = created_at + 7200`);
    const [clock] = await found();
    expect(clock).toMatchObject({ check: "clock", level: "FAIL" });
    expect(clock?.message).toMatch(/\(in (1h59m\d+s|2h0m0s)\), by this machine's clock/);
    changed(`UPDATE entries SET created_at = created_at - 7200`);
    expect(await found()).toEqual([]);
  });

  test("of a newer program", async () => {
    changed("PRAGMA user_version = 999");
    expect(named(await found())).toEqual(["FAIL database"]);
    expect((await found())[0]?.message).toContain("was written by a newer spire-server");
  });

  test("of another program, and none at all", async () => {
    writeFileSync(path(), "no database");
    expect((await found())[0]?.message).toContain("is not a database of spire-edge");
    await Bun.file(path()).delete();
    expect((await found())[0]?.message).toContain("is not there");
  });
});

test("other trust domains: one that cannot be reached, one whose bundle has expired", async () => {
  const server = await TestServer.start(stage, "ours", {
    keyManager: 'KeyManager "memory" {\n plugin_data {}\n }',
  });
  const created = await server.cli(
    ...["federation", "create", "-trustDomain", "away.test", "-bundleEndpointProfile", "https_web"],
    ...["-bundleEndpointURL", `https://127.0.0.1:${await freePort()}/`],
  );
  expect(created.code).toBe(0);
  const times = { notBefore: now - 7200, notAfter: now - 3600 };
  const { certificate } = await make({
    name: "old",
    isCa: true,
    uri: "spiffe://old.test",
    ...times,
  });
  const file = join(server.directory, "old.pem");
  writeFileSync(file, certificatesToPem([certificate.der]));
  const set = await server.cli("bundle", "set", "-id", "spiffe://old.test", "-path", file);
  expect(set.code).toBe(0);
  const found = await problems(server);
  expect(named(found)).toEqual(["WARN private_keys", "FAIL federation", "FAIL federation"]);
  expect(found[1]?.message).toMatch(/^away.test has no bundle, .*ECONNREFUSED/);
  expect(found[2]?.message).toContain("all X.509 authorities of old.test have expired");
}, 60_000);

test("an upstream CA that ends soon, declared entries with a mistake, and the bundle endpoint", async () => {
  const bundlePort = await freePort();
  const upstream = await make({
    name: "up",
    isCa: true,
    notBefore: now - 60,
    notAfter: now + 3600,
  });
  const file = (name: string, text: string): string => {
    const path = join(files, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const files = stage.room("files");
  const entries = stage.room("entries");
  const server = await TestServer.start(stage, "ours", {
    settings: `entries_dir = "${entries}"
  federation { bundle_endpoint { port = ${bundlePort} profile "https_spiffe" {} } }`,
    plugins: `UpstreamAuthority "disk" { plugin_data {
    cert_file_path = "${file("up.pem", certificatesToPem([upstream.certificate.der]))}"
    key_file_path = "${file("up.key", pkcs8(upstream.key))}"
  } }`,
  });
  expect(named(await problems(server))).toEqual(["WARN upstream_authority"]);
  const told = await doctor(server);
  expect(told.stdout).toMatch(/^OK +bundle_endpoint +the server answers on 127.0.0.1:/m);
  expect(told.stdout).toMatch(/^OK +declared_entries +0 in /m);
  writeFileSync(join(entries, "web.yaml"), "entries:\n  - spiffe_idd: spiffe://example.org/web\n");
  const found = await problems(server);
  const declared = found.filter(({ check }) => check === "declared_entries");
  expect(declared[0]?.message).toContain("web.yaml:2");
  chmodSync(join(files, "up.key"), 0o644);
  expect(named(await problems(server))).toContain("FAIL private_keys");
}, 60_000);
