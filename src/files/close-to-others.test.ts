import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeToOthers } from "./close-to-others.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "close-to-others-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const modeOf = (path: string): number => statSync(path).mode & 0o777;

test("a file is closed to others, and a directory in its place stays as it is", () => {
  const path = join(directory, "file");
  writeFileSync(path, "");
  chmodSync(path, 0o640);
  expect(closeToOthers(path)).toBe(0o640);
  expect(modeOf(path)).toBe(0o600);
  chmodSync(path, 0o400);
  expect(closeToOthers(path)).toBeUndefined();
  expect(modeOf(path)).toBe(0o400);
  chmodSync(directory, 0o755);
  expect(closeToOthers(directory)).toBeUndefined();
  expect(modeOf(directory)).toBe(0o755);
});
