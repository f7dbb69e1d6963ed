/** Executables that are read: how often, for whom, and when that ends. */
import { afterAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "#clock/clock.ts";
import { ExecutableDigests } from "./digest.ts";
import { Executable } from "./executable.ts";

const MIB = 1024 * 1024;
const never = new AbortController().signal;
const directory = mkdtempSync(join(tmpdir(), "spire-edge-digest-"));
const children: ChildProcess[] = [];
/** To which files that were made just now look settled. */
const muchLater: Clock = Object.assign(Object.create(systemClock), { nowMs: () => 0 });

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true });
});

/** A program of that size that runs. */
async function running(name: string, bytes: number): Promise<Executable> {
  const path = join(directory, name);
  copyFileSync("/usr/bin/sleep", path);
  truncateSync(path, bytes);
  const child = spawn(path, ["60"]);
  children.push(child);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.on("spawn", resolve);
  child.on("error", reject);
  await promise;
  return Executable.open(child.pid ?? 0);
}

const sha256 = (name: string): string =>
  createHash("sha256")
    .update(readFileSync(join(directory, name)))
    .digest("hex");

/** Bytes that this process has read so far, from files and other things. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync("/proc/self/io", "latin1"))?.[1]);
}

test("however many ask for a file at the same time, it is read once", async () => {
  const executable = await running("shared", 40 * MIB);
  const digests = new ExecutableDigests(systemClock);
  const before = bytesRead();
  const asked = Array.from({ length: 500 }, (_, n) =>
    digests.of({ executable, account: n % 5, isKept: true }, never),
  );
  expect(new Set(await Promise.all(asked))).toEqual(new Set([sha256("shared")]));
  expect(bytesRead() - before).toBeLessThan(2.5 * 40 * MIB);
  executable.close();
});

test("reading ends when nobody waits any more, and goes on there when somebody comes again", async () => {
  const executable = await running("left", 100 * MIB);
  const digests = new ExecutableDigests(muchLater);
  const leaving = [new AbortController(), new AbortController()];
  const question = { executable, account: 0, isKept: true };
  const begun = bytesRead();
  const left = leaving.map(({ signal }) => digests.of(question, signal).catch(String));
  while (bytesRead() - begun < 2 * MIB) await systemClock.sleep(1);
  for (const one of leaving) one.abort(new Error("gone"));
  expect(await Promise.all(left)).toEqual(["Error: gone", "Error: gone"]);
  const before = bytesRead();
  await systemClock.sleep(100);
  expect(bytesRead() - before).toBeLessThan(MIB);
  const again = bytesRead();
  const digest = await digests.of(question, never);
  expect(bytesRead() - again).toBeLessThan(99 * MIB);
  expect(digest).toBe(sha256("left"));
  executable.close();
});

test("what was read of a file that had changed just before is read again", async () => {
  const executable = await running("half", 100 * MIB);
  let now = executable.status.changedMs + 1;
  const clock: Clock = Object.assign(Object.create(systemClock), { nowMs: () => now });
  const digests = new ExecutableDigests(clock);
  const question = { executable, account: 0, isKept: true };
  const leaving = new AbortController();
  const begun = bytesRead();
  const left = digests.of(question, leaving.signal).catch(String);
  while (bytesRead() - begun < 2 * MIB) await systemClock.sleep(1);
  leaving.abort(new Error("gone"));
  expect(await left).toBe("Error: gone");
  now += 3_600_000;
  const again = bytesRead();
  expect(await digests.of(question, never)).toBe(sha256("half"));
  // The test itself reads it once.
  expect(bytesRead() - again).toBeGreaterThanOrEqual(2 * 100 * MIB);
  executable.close();
});

test("one who wants a file that another user has at the end of a long line need not wait for the line", async () => {
  const digests = new ExecutableDigests(systemClock);
  const order: string[] = [];
  const ask = async (executable: Executable, name: string, account: number): Promise<void> => {
    await digests.of({ executable, account, isKept: true }, never);
    order.push(name);
  };
  const names = Array.from({ length: 8 }, (_, n) => `line-${n}`);
  const line = await Promise.all(names.map((name) => running(name, 30 * MIB)));
  const wanted = await running("wanted", MIB);
  const asked = line.map((executable, n) => ask(executable, `line-${n}`, 1));
  asked.push(ask(wanted, "wanted", 1), ask(wanted, "wanted too", 2));
  await Promise.all(asked);
  expect(order.slice(0, 3)).toContain("wanted too");
  expect(order.slice(0, 3)).toContain("wanted");
});

test.each([
  ["a file that has not changed for a while is read once", "settled", true, 1],
  ["one that changed just now is read each time: it may change again unseen", "fresh", true, 2],
  ["so is one of a file system that tells nothing of changes", "settled", false, 2],
])("%s", async (_what, age, isKept, times) => {
  const name = `again-${age}-${isKept}`;
  const executable = await running(name, 20 * MIB);
  const { changedMs } = executable.status;
  const justNow: Clock = Object.assign(Object.create(systemClock), { nowMs: () => changedMs + 1 });
  const digests = new ExecutableDigests(age === "fresh" ? justNow : muchLater);
  const before = bytesRead();
  for (let n = 0; n < 2; n++) {
    const digest = await digests.of({ executable, account: 0, isKept }, never);
    expect(digest).toBe(sha256(name));
  }
  // Of which the test itself reads it twice.
  expect(Math.round((bytesRead() - before) / (20 * MIB))).toBe(times + 2);
  executable.close();
});
