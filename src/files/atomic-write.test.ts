import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeDrafts, writeFileAtomically } from "./atomic-write.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "files-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("writeFileAtomically", () => {
  test("replaces the file and sets its mode, whatever the umask and the old mode", async () => {
    const path = join(directory, "keys.json");
    writeFileSync(path, "old", { mode: 0o644 });
    const umask = process.umask(0o077);
    try {
      await writeFileAtomically(path, "new", 0o640);
    } finally {
      process.umask(umask);
    }
    expect(readFileSync(path, "utf8")).toBe("new");
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(readdirSync(directory)).toEqual(["keys.json"]);
  });

  test("gives the place of a link to a file of its own and leaves the link's target", async () => {
    const target = join(directory, "target");
    const path = join(directory, "link");
    writeFileSync(target, "target");
    symlinkSync(target, path);
    await writeFileAtomically(path, "new", 0o600);
    expect(readFileSync(target, "utf8")).toBe("target");
  });

  test("leaves the old file and no draft when the new one cannot take its place", async () => {
    const path = join(directory, "is-a-directory");
    await writeFileAtomically(join(directory, "other"), "x", 0o600);
    rmSync(join(directory, "other"));
    await Bun.write(join(path, "inside"), "kept");
    await expect(writeFileAtomically(path, "new", 0o600)).rejects.toThrow();
    expect(readdirSync(directory)).toEqual(["is-a-directory"]);
  });

  test("keeps writers of one file apart", async () => {
    const path = join(directory, "file");
    const texts = Array.from({ length: 8 }, (_, index) => String(index).repeat(50_000));
    await Promise.all(texts.map((text) => writeFileAtomically(path, text, 0o600)));
    expect(texts).toContain(readFileSync(path, "utf8"));
    expect(readdirSync(directory)).toEqual(["file"]);
  });
});

test("removeDrafts deletes what a killed writer left, and nothing else", async () => {
  const path = join(directory, "keys.json");
  const kept = ["keys.json", "keys.json.bak", "keys.json.new", "other.json.1-0.new"];
  const drafts = ["keys.json.4711-0.new", "keys.json.4711-db.new", "keys.json.4711-db.new-journal"];
  for (const name of [...kept, ...drafts]) writeFileSync(join(directory, name), "");
  await removeDrafts(path);
  expect(readdirSync(directory).sort()).toEqual(kept.sort());
});
