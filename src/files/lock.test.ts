import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LockedError, lockFile } from "./lock.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "lock-"));
  path = join(directory, "server.lock");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Another process that takes the lock, says so, and then waits to be killed. */
async function holder(): Promise<Bun.Subprocess<"ignore", "pipe", "inherit">> {
  const script = `
    import { lockFile } from ${JSON.stringify(join(import.meta.dir, "lock.ts"))};
    lockFile(${JSON.stringify(path)});
    console.log("held");
    await new Promise((resolve) => setTimeout(resolve, 20_000));
  `;
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: join(import.meta.dir, "../.."),
    stdout: "pipe",
  });
  const { value } = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toContain("held");
  return child;
}

test("a second process is refused with the path and the holder's pid, until the first is killed", async () => {
  const child = await holder();
  let refused: unknown;
  try {
    lockFile(path).release();
  } catch (error) {
    refused = error;
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
  expect(refused).toBeInstanceOf(LockedError);
  expect(String(refused)).toContain(`${path} is locked by process ${child.pid}`);
  lockFile(path).release();
});

test("the same process cannot take it twice, but again after it let go", () => {
  const lock = lockFile(path);
  expect(() => lockFile(path)).toThrow(LockedError);
  lock.release();
  lockFile(path).release();
});

test("the lock file is for its owner alone", () => {
  const lock = lockFile(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  lock.release();
});

test("a directory that is not there is not taken for a lock that is held", () => {
  expect(() => lockFile(join(directory, "missing", "lock"))).toThrow(/ENOENT/);
});

test("a link in its place is not followed: what it leads to stays as it is", () => {
  const other = join(directory, "other");
  writeFileSync(other, "precious");
  symlinkSync(other, path);
  expect(() => lockFile(path)).toThrow("ELOOP");
  expect(readFileSync(other, "utf8")).toBe("precious");
});
