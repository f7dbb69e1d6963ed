import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DirectorySnapshots } from "./directory-snapshots.ts";

// A tmpfs on every Linux.
const root = mkdtempSync("/dev/shm/snapshots-");
let directory: string;
let count = 0;
beforeEach(() => {
  directory = join(root, String(count++));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const refused = (): Promise<string> =>
  DirectorySnapshots.open(directory).then(
    () => "taken",
    (error: unknown) => String(error),
  );

test("the directory is made for its owner alone, and keeps one snapshot", async () => {
  const store = await DirectorySnapshots.open(directory);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(await store.load()).toEqual([]);
  await store.replace(Buffer.from("one"));
  await store.replace(Buffer.from("two"));
  expect(statSync(join(directory, "workload-cache")).mode & 0o777).toBe(0o600);
  expect((await store.load()).map(String)).toEqual(["two"]);
  await store.clear();
  expect(await store.load()).toEqual([]);
});

test("what a killed agent left half written is removed", async () => {
  mkdirSync(directory, { mode: 0o700 });
  writeFileSync(join(directory, "workload-cache.12-0.new"), "half");
  await DirectorySnapshots.open(directory);
  expect(readdirSync(directory)).toEqual([]);
});

test("a link in place of the file is not followed", async () => {
  const store = await DirectorySnapshots.open(directory);
  symlinkSync("/etc/passwd", join(directory, "workload-cache"));
  await expect(store.load()).rejects.toThrow("ELOOP");
});

test("a directory that others can enter is refused", async () => {
  mkdirSync(directory);
  chmodSync(directory, 0o750);
  expect(await refused()).toContain("chmod it to 0700");
});

test.skipIf(process.getuid?.() !== 0)("a directory of another user is refused", async () => {
  mkdirSync(directory, { mode: 0o700 });
  chownSync(directory, 65534, 65534);
  expect(await refused()).toContain("must belong to the agent's user alone");
});

test("a link, a file and a parent that is not there are refused", async () => {
  symlinkSync(root, directory);
  expect(await refused()).toContain("not a directory");
  rmSync(directory);
  writeFileSync(directory, "");
  expect(await refused()).toContain("not a directory");
  directory = join(root, "missing", "cache");
  expect(await refused()).toContain(`offline_cache_directory ${directory}: ENOENT`);
});

test("a file system that is no memory is refused", async () => {
  directory = `/proc/${process.pid}`;
  expect(await refused()).toContain("it is not on a tmpfs or ramfs");
});
