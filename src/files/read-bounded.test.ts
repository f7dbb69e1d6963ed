import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorText } from "#spiffe/status-error.ts";
import { readBounded } from "./read-bounded.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "read-bounded-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const problemOf = (...given: Parameters<typeof readBounded>): Promise<string> =>
  readBounded(...given).then(() => "none", errorText);

test("a file up to its limit is read, and none above it", async () => {
  const path = join(directory, "file");
  writeFileSync(path, "12345");
  expect((await readBounded(path, 5)).toString()).toBe("12345");
  expect(await problemOf(path, 4)).toBe("larger than 4 bytes");
  writeFileSync(path, "");
  expect(await readBounded(path, 0)).toHaveLength(0);
});

test("what is no file is not read, and no pipe is waited for", async () => {
  const pipe = join(directory, "pipe");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  for (const path of [pipe, directory, "/dev/zero"]) {
    expect(await problemOf(path, 5)).toBe("is not a regular file");
  }
  expect(await problemOf(join(directory, "missing"), 5)).toStartWith("ENOENT");
});

test("a link is followed, unless it may not be", async () => {
  const path = join(directory, "file");
  const link = join(directory, "link");
  writeFileSync(path, "1");
  symlinkSync(path, link);
  expect((await readBounded(link, 1)).toString()).toBe("1");
  expect(await problemOf(link, 1, "refused")).toStartWith("ELOOP");
});
