import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { JoinFile } from "./join-file.ts";

const directory = mkdtempSync(join(tmpdir(), "spire-join-"));
afterAll(() => rmSync(directory, { recursive: true }));
const never = new AbortController().signal;
const path = join(directory, "token");

/** Waits a minute at most; `make` happens meanwhile. @returns seconds */
async function waited(file: JoinFile, clock: ManualClock, make: () => void): Promise<number> {
  const began = clock.nowSeconds();
  let isOver = false;
  const wait = file.wait(new Wakeup(clock), 60_000, never).then(() => {
    isOver = true;
  });
  make();
  while (!isOver) {
    await Bun.sleep(0);
    if (!isOver) clock.pass(500);
  }
  await wait;
  return clock.nowSeconds() - began;
}

test("a file that is written, replaced or made ends the wait within a second or two", async () => {
  const clock = new ManualClock();
  writeFileSync(path, "spent");
  const file = new JoinFile(path, clock);
  expect(await waited(file, clock, () => {})).toBeGreaterThanOrEqual(59);
  expect(await waited(file, clock, () => writeFileSync(path, "new"))).toBeLessThan(3);
  const replace = (): void => {
    writeFileSync(`${path}.new`, "one");
    renameSync(`${path}.new`, path);
  };
  expect(await waited(file, clock, replace)).toBeLessThan(3);
  expect(await waited(file, clock, () => rmSync(path))).toBeLessThan(3);
  expect(await waited(file, clock, () => writeFileSync(path, "again"))).toBeLessThan(3);
  expect(await waited(file, clock, () => {})).toBeGreaterThanOrEqual(59);
});

test("what was put there while an attempt went on is not missed", async () => {
  const clock = new ManualClock();
  writeFileSync(path, "spent");
  const file = new JoinFile(path, clock);
  writeFileSync(path, "put there meanwhile");
  expect(await waited(file, clock, () => {})).toBe(0);
});

test("without a file it is a wait like any other", async () => {
  const clock = new ManualClock();
  expect(await waited(new JoinFile(undefined, clock), clock, () => {})).toBeWithin(59, 62);
});
