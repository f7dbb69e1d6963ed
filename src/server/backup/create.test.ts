/** Keys that change while a backup is made. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
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

/** Whether the copy of the database that goes into the backup has been made. */
const isCopied = (): boolean => existsSync(`${output}.${process.pid}-db.new`);

async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setImmediate(resolve));
}

/** A file of keys that holds whoever opens it until they are told what is in it. */
class TalkingFile {
  readonly path: string = join(directory, "keys.fifo");
  readonly #other: string = join(directory, "other-name");

  constructor() {
    spawnSync("mkfifo", [this.path]);
    linkSync(this.path, this.#other);
  }

  /** Waits for a reader. @param meanwhile is done while it is held */
  async tell(text: string, meanwhile: () => void = () => undefined): Promise<void> {
    let descriptor: number | undefined;
    await until(() => {
      descriptor = this.#open();
      return descriptor !== undefined;
    });
    meanwhile();
    if (descriptor === undefined) return;
    writeSync(descriptor, text);
    closeSync(descriptor);
  }

  /** Undefined while nobody reads. */
  #open(): number | undefined {
    try {
      return openSync(this.#other, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch {
      return undefined;
    }
  }
}

/** The keys in the backup, when what is read before the copy is one text, and what is read after it another. */
async function backedUp(before: string, after: string): Promise<string | undefined> {
  const keys = new TalkingFile();
  const made = create(keys.path);
  await keys.tell(before);
  await until(isCopied);
  await keys.tell(after);
  await made;
  return keysInBackup();
}

test("keys that are replaced after the copy were read before it", async () => {
  expect(await backedUp(fitting, strange)).toBe(fitting);
}, 30_000);

test("keys that were replaced before the copy are read again after it", async () => {
  expect(await backedUp(strange, fitting)).toBe(fitting);
}, 30_000);

test("when neither fit, it is all done again", async () => {
  const keys = new TalkingFile();
  const next = join(directory, "next");
  writeFileSync(next, fitting);
  const made = create(keys.path);
  await keys.tell(strange);
  await until(isCopied);
  await keys.tell(strange, () => renameSync(next, keys.path));
  await made;
  expect(await keysInBackup()).toBe(fitting);
}, 30_000);

test("when they never fit, there is no backup", async () => {
  const path = join(directory, "keys.json");
  writeFileSync(path, strange);
  await expect(create(path)).rejects.toThrow("the keys lack x509-CA-A, of the active X.509");
  expect(existsSync(output)).toBe(false);
  expect(isCopied()).toBe(false);
}, 30_000);
