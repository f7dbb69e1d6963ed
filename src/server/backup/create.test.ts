/** Keys that change while a backup is made. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestServer, testConfig } from "#server/server.fixture.ts";
import { extractArchive } from "./archive.ts";
import { createBackup } from "./create.ts";

let directory: string;
/** Of the journal, and of another server. */
let fitting: string;
let strange: string;
let databasePath: string;
let output: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "create-"));
  output = join(directory, "backup");
  databasePath = join(directory, "datastore.sqlite3");
  strange = await keysOfNewServer("strange");
  fitting = await keysOfNewServer("fitting");
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Leaves the database of the server as well. */
async function keysOfNewServer(name: string): Promise<string> {
  const path = join(directory, name);
  const plugins = {
    ...testConfig(path).plugins,
    keyManager: { name: "disk", keysPath: join(path, "data", "keys.json") } as const,
  };
  const server = await startTestServer({ plugins }, path);
  // What is in the log of the running one is left out; it has authorities by then.
  const keys = readFileSync(plugins.keyManager.keysPath, "utf8");
  for (const suffix of ["", "-wal"]) {
    copyFileSync(`${plugins.dataStore.connectionString}${suffix}`, `${databasePath}${suffix}`);
  }
  await server.stop();
  return keys;
}

const create = (keysPath: string): Promise<unknown> =>
  createBackup({
    files: { dataDir: directory, databasePath, keysPath },
    trustDomain: "example.org",
    configurationPath: undefined,
    programVersion: "test",
    output,
    passphrase: undefined,
    now: 1_800_000_000,
  });

async function keysInBackup(): Promise<string | undefined> {
  const { keys } = await extractArchive(output, undefined, join(directory, "extracted"));
  return keys?.toString();
}

/** When the copy of the database was made that is there; another time after each attempt. */
const copy = (): number | undefined =>
  statSync(`${output}.${process.pid}-db.new`, { throwIfNoEntry: false })?.ctimeMs;

async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setImmediate(resolve));
}

/** A file that gives each reader another text: the first before the copy, the second after it. */
async function readTwice(first: string, second: string): Promise<string> {
  const path = join(directory, "keys.fifo");
  spawnSync("mkfifo", [path]);
  const write = (text: string): Promise<unknown> => {
    writeFileSync(`${path}.text`, text);
    return Bun.spawn(["sh", "-c", 'cat "$0.text" > "$0"', path]).exited;
  };
  const written = write(first)
    .then(() => until(() => copy() !== undefined))
    .then(() => write(second));
  await Promise.all([create(path), written]);
  return (await keysInBackup()) ?? "";
}

test("keys that came before the copy, and those that came while it was made, are both found", async () => {
  expect(await readTwice(fitting, strange)).toBe(fitting);
}, 30_000);

test("keys that were replaced before the copy are read again after it", async () => {
  expect(await readTwice(strange, fitting)).toBe(fitting);
}, 30_000);

test("when neither fit, it is all done again", async () => {
  const path = join(directory, "keys.json");
  writeFileSync(path, strange);
  writeFileSync(`${path}.next`, fitting);
  const made = create(path);
  await until(() => copy() !== undefined);
  const first = copy();
  await until(() => copy() !== undefined && copy() !== first);
  renameSync(`${path}.next`, path);
  await made;
  expect(await keysInBackup()).toBe(fitting);
}, 30_000);

test("when they never fit, there is no backup", async () => {
  const path = join(directory, "keys.json");
  writeFileSync(path, strange);
  await expect(create(path)).rejects.toThrow("the keys lack x509-CA-A, of the active X.509");
  expect(existsSync(output)).toBe(false);
  expect(copy()).toBeUndefined();
}, 30_000);
