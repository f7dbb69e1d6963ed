/** Backups whose every part is sound, and with which a server could not go on. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SCHEMA_VERSION } from "#server/datastore/sqlite/file/schema.ts";
import { startTestServer, testConfig, unary } from "#server/server.fixture.ts";
import { archiveBytes, describePart } from "./archive.ts";
import { createBackup } from "./create.ts";
import type { Manifest } from "./manifest.ts";
import { type Verified, verifyBackup } from "./verify.ts";

let directory: string;
/** Of a server that made a backup of itself, and what was in that. */
let keys: string;
let original: string;
let database: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "verify-"));
  const place = join(directory, "server");
  const keysPath = join(place, "data", "keys.json");
  const plugins = { ...testConfig(place).plugins, keyManager: { name: "disk", keysPath } as const };
  const server = await startTestServer({ plugins }, place);
  await unary((done) =>
    server.local.agent.createJoinToken({ ttl: 600, token: "", agentId: undefined }, done),
  );
  const output = join(directory, "backup");
  const databasePath = plugins.dataStore.connectionString;
  await createBackup({
    files: { dataDir: join(place, "data"), databasePath, keysPath },
    trustDomain: "example.org",
    configurationPath: undefined,
    programVersion: "test",
    output,
    passphrase: undefined,
    now: 1_800_000_000,
  });
  keys = readFileSync(keysPath, "utf8");
  await server.stop();
  original = join(directory, "original");
  await verifyBackup(output, undefined, original);
});
beforeEach(() => {
  database = join(directory, "database");
  copyFileSync(original, database);
});
afterAll(() => rmSync(directory, { recursive: true }));

function change(sql: string): void {
  using db = new Database(database);
  db.run(sql);
}

/** A backup of what is there now. */
async function verify(
  manifest: Partial<Manifest> = {},
  keyFile: string | null = keys,
): Promise<Verified> {
  const path = join(directory, "made");
  const named: [string, Buffer][] = [];
  if (keyFile !== null) named.push(["keys.json", Buffer.from(keyFile)]);
  named.push(["datastore.sqlite3", readFileSync(database)]);
  const all: Manifest = {
    programVersion: "test",
    schemaVersion: SCHEMA_VERSION,
    trustDomain: "example.org",
    createdAt: 1_800_000_000,
    keyManager: keyFile === null ? "memory" : "disk",
    parts: await Promise.all(named.map(([name, bytes]) => describePart(name, bytes))),
    ...manifest,
  };
  const content = named.map(([, bytes]) => bytes);
  const bytes = await Array.fromAsync(archiveBytes(all, content, undefined));
  writeFileSync(path, Buffer.concat(bytes));
  const extracted = join(directory, "extracted");
  rmSync(extracted, { force: true });
  return verifyBackup(path, undefined, extracted);
}

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "not refused",
    (error: unknown) => String(error),
  );
}

test("as it was it is good, and tells what is in it", async () => {
  const { contents } = await verify();
  expect(contents.counts).toEqual({
    entries: 0,
    agents: 0,
    joinTokens: 1,
    bundles: 1,
    federationRelationships: 0,
  });
  const named = contents.authorities.map(({ kind, status, key }) => `${kind} ${status} ${key}`);
  expect(named).toEqual(["x509 active present", "jwt active present"]);
});

test.each([
  [
    "lack x509-CA-A, of the active X.509 authority",
    (text: string) => text.replace("x509-CA-A", "x509-CA-B"),
  ],
  [
    "lack JWT-Signer-A, of the active JWT authority",
    (text: string) => text.replace("JWT-Signer-A", "JWT-Signer-B"),
  ],
  ["lack x509-CA-A, of the active X.509 authority", () => `{"keys": {}}`],
  ["its keys cannot be read: it is not JSON", () => "{"],
] as const)("keys that do not fit or cannot be read: %s", async (problem, changed) => {
  expect(await refusal(verify({}, changed(keys)))).toContain(problem);
});

test("keys of one name for another", async () => {
  const { keys: all } = JSON.parse(keys) as { keys: Record<string, string> };
  const swapped = { ...all, "x509-CA-A": all["JWT-Signer-A"] };
  expect(await refusal(verify({}, JSON.stringify({ keys: swapped })))).toContain("lack x509-CA-A");
});

test("without keys it is that of a server which keeps them in memory", async () => {
  const { contents } = await verify({}, null);
  expect(contents.authorities.map(({ key }) => key)).toEqual(["memory", "memory"]);
});

test("a datastore of a later version, of another trust domain, or not as the manifest says", async () => {
  expect(await refusal(verify({ trustDomain: "other.test" }))).toContain(
    "its authorities are those of spiffe://example.org, not of spiffe://other.test",
  );
  expect(await refusal(verify({ schemaVersion: 1 }))).toContain(
    "schema version that its manifest says",
  );
  change(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  expect(await refusal(verify({ schemaVersion: SCHEMA_VERSION + 1 }))).toContain(
    `its datastore has schema version ${SCHEMA_VERSION + 1}, this spire-server knows versions up to ${SCHEMA_VERSION}: use the later spire-server`,
  );
});

test("a datastore that is damaged in itself, though it is what the manifest says", async () => {
  change(
    "PRAGMA foreign_keys = OFF; INSERT INTO node_selectors (selector, owner) VALUES ('a', 99)",
  );
  expect(await refusal(verify())).toContain("node_selectors refers to what is not there");
  const bytes = readFileSync(original);
  bytes.fill(0xa5, 4096 + 100, 3 * 4096);
  writeFileSync(database, bytes);
  expect(await refusal(verify())).toContain("its datastore is damaged");
});

test.each([
  ["not JSON", "journal"],
  ["another version", `{"version": 99}`],
])("a CA journal that cannot be read: %s", async (_, journal) => {
  change(`UPDATE ca_journal SET record = CAST('${journal}' AS BLOB)`);
  expect(await refusal(verify())).toContain("its CA journal cannot be read");
});
