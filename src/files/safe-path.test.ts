import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { followSafely, makeSafeDirectory, withUmask } from "./safe-path.ts";

const base = realpathSync(mkdtempSync(join(tmpdir(), "spire-edge-safe-")));
let at = "";
let rooms = 0;
const inRoom = (...names: string[]): string => join(at, ...names);

beforeEach(() => {
  at = join(base, String(rooms++));
  mkdirSync(at);
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

test("what is missing is made with its mode, whatever the umask; what is there stays as it is", () => {
  mkdirSync(inRoom("there"), { mode: 0o700 });
  const made = withUmask(0o077, () => makeSafeDirectory(inRoom("there/a/b"), 0o755));
  expect(made.path).toBe(inRoom("there/a/b"));
  const mode = (name: string): number => statSync(inRoom(name)).mode & 0o777;
  expect(["there", "there/a", "there/a/b"].map(mode)).toEqual([0o700, 0o755, 0o755]);
});

test("links of ours are followed, upwards as well, and a path that is not there has no facts", () => {
  mkdirSync(inRoom("real/below"), { recursive: true });
  symlinkSync("real/below/..", inRoom("link"));
  symlinkSync(inRoom("link"), inRoom("link-to-link"));
  expect(followSafely(inRoom("link-to-link/below")).path).toBe(inRoom("real/below"));
  expect(followSafely(inRoom("link/none/at/all")).facts).toBeUndefined();
  expect(() => makeSafeDirectory(inRoom("link/below/x"), 0o700)).not.toThrow();
  expect(statSync(inRoom("real/below/x")).isDirectory()).toBe(true);
});

test("what is no directory is not taken for one, and why one cannot be made is said", () => {
  writeFileSync(inRoom("file"), "");
  expect(() => makeSafeDirectory(inRoom("file"), 0o700)).toThrow("file is not a directory");
  expect(() => makeSafeDirectory("/proc/self/none", 0o700)).toThrow(/mkdir/);
});

test("links that lead in a circle end", () => {
  symlinkSync("b", inRoom("a"));
  symlinkSync("a", inRoom("b"));
  expect(() => followSafely(inRoom("a/file"))).toThrow("too many links");
});

describe("others could change it:", () => {
  const refusal = (path: string): string => {
    try {
      followSafely(path);
    } catch (error) {
      return String(error);
    }
    return "";
  };

  test.each([
    ["a directory that everybody may write", 0o777, "everybody may write it, mode 0777"],
    ["one that a group may write", 0o775, "may write it, mode 0775"],
  ])("%s", (_name, mode, words) => {
    mkdirSync(inRoom("open/in/it"), { recursive: true });
    chmodSync(inRoom("open"), mode);
    const isOwnGroup = mode === 0o775 && process.geteuid?.() !== 0;
    if (isOwnGroup) return;
    expect(refusal(inRoom("open/in/it"))).toContain(`directory ${inRoom("open")} can be changed`);
    expect(refusal(inRoom("open/in/it"))).toContain(words);
    expect(refusal(inRoom("open/in/it"))).toContain("chmod g");
  });

  test("a file that everybody may write, also where its directory is safe", () => {
    writeFileSync(inRoom("file"), "");
    chmodSync(inRoom("file"), 0o666);
    expect(refusal(inRoom("file"))).toContain(`file ${inRoom("file")} can be changed`);
  });

  test("but not below a directory where all make names and none takes another's", () => {
    mkdirSync(inRoom("sticky/in"), { recursive: true });
    chmodSync(inRoom("sticky"), 0o1777);
    expect(refusal(inRoom("sticky/in"))).toBe("");
    expect(() => makeSafeDirectory(inRoom("sticky"), 0o700, { sticky: "refused" })).toThrow();
  });

  test.if(process.geteuid?.() === 0)("a directory or a link of another user", () => {
    mkdirSync(inRoom("sticky/theirs/in"), { recursive: true });
    chmodSync(inRoom("sticky"), 0o1777);
    lchownSync(inRoom("sticky/theirs"), 65534, 0);
    expect(refusal(inRoom("sticky/theirs/in"))).toContain("it belongs to user 65534");
    symlinkSync("/etc", inRoom("sticky/link"));
    lchownSync(inRoom("sticky/link"), 65534, 0);
    expect(refusal(inRoom("sticky/link/passwd"))).toContain(`link ${inRoom("sticky/link")} can`);
    const rules = { alsoOwners: [65534] };
    expect(() => followSafely(inRoom("sticky/theirs/in"), rules)).not.toThrow();
  });
});
