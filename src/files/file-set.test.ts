import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { FileSet, type SetFile } from "./file-set.ts";

const isRoot = process.geteuid?.() === 0;
let root = "";
let path = "";
const made: string[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "spire-edge-set-"));
  made.push(root);
  path = join(root, "certs");
});

afterAll(() => {
  for (const directory of made) rmSync(directory, { recursive: true, force: true });
});

const files = (version: string): SetFile[] => [
  { name: "key.pem", data: `key ${version}`, mode: 0o600 },
  { name: "cert.pem", data: `cert ${version}`, mode: 0o644 },
];
const read = (name: string): string => readFileSync(join(path, name), "utf8");

test("files are there under their names, with their modes, whatever the umask", async () => {
  const before = process.umask(0o077);
  const set = await FileSet.open(path, {});
  expect(await set.replace(files("1"))).toEqual(["key.pem", "cert.pem"]);
  process.umask(before);
  expect([read("key.pem"), read("cert.pem")]).toEqual(["key 1", "cert 1"]);
  const modes = ["key.pem", "cert.pem"].map((name) => statSync(join(path, name)).mode & 0o777);
  expect(modes).toEqual([0o600, 0o644]);
});

test("a reader who follows ..data once has files of one set, also while the next one comes", async () => {
  const set = await FileSet.open(path, {});
  await set.replace(files("0"));
  let done = false;
  const writing = (async () => {
    for (let version = 1; version <= 30; version++) await set.replace(files(String(version)));
    done = true;
  })();
  const seen = new Set<string>();
  while (!done) {
    const current = realpathSync(join(path, "..data"));
    const key = readFileSync(join(current, "key.pem"), "utf8");
    await Bun.sleep(0);
    const cert = readFileSync(join(current, "cert.pem"), "utf8");
    expect(cert).toBe(key.replace("key", "cert"));
    seen.add(key);
  }
  await writing;
  expect(seen.size).toBeGreaterThan(1);
});

test("the same files again change nothing; another mode, byte or file does", async () => {
  const set = await FileSet.open(path, {});
  await set.replace(files("1"));
  const [key, cert] = files("1");
  if (key === undefined || cert === undefined) throw new Error("no files");
  expect(await set.replace([key, cert])).toEqual([]);
  expect(await set.replace([key, { ...cert, mode: 0o640 }])).toEqual(["cert.pem"]);
  expect(await set.replace([{ ...cert, mode: 0o640, data: "other" }, key])).toEqual(["cert.pem"]);
  expect(await set.replace([key])).toEqual(["cert.pem"]);
  expect(readdirSync(path).filter((name) => !name.startsWith(".."))).toEqual(["key.pem"]);
  const alike: SetFile = {
    ...key,
    data: "other bytes",
    isSame: (data) => String(data) === "key 1",
  };
  expect(await set.replace([alike])).toEqual([]);
});

test("the set before the current one stays for its readers, older ones and leftovers go", async () => {
  const set = await FileSet.open(path, {});
  for (const version of ["1", "2", "3"]) await set.replace(files(version));
  const versions = (): string[] => readdirSync(path).filter((name) => name.startsWith("..set-"));
  expect(versions()).toHaveLength(2);
  mkdirSync(join(path, "..set-killed"));
  writeFileSync(join(path, "..set-killed/key.pem"), "half");
  symlinkSync("..set-killed", join(path, "..link.new"));
  const again = await FileSet.open(path, {});
  expect(versions()).toEqual([readlinkSync(join(path, "..data"))]);
  expect(await again.replace(files("4"))).toHaveLength(2);
  expect(read("key.pem")).toBe("key 4");
});

test("whether those who use a set know of it is remembered, for that very set", async () => {
  const set = await FileSet.open(path, {});
  expect(await set.isAnnounced()).toBe(false);
  await set.replace(files("1"));
  expect(await set.isAnnounced()).toBe(false);
  await set.announced();
  expect(await (await FileSet.open(path, {})).isAnnounced()).toBe(true);
  await set.replace(files("2"));
  expect(await set.isAnnounced()).toBe(false);
});

test("files that another program left under the names are replaced", async () => {
  mkdirSync(path);
  writeFileSync(join(path, "key.pem"), "old");
  await (await FileSet.open(path, {})).replace(files("1"));
  expect(read("key.pem")).toBe("key 1");
});

test("a directory that others may change is refused, and one below such a directory", async () => {
  mkdirSync(path);
  chmodSync(path, 0o777);
  expect(await FileSet.open(path, {}).catch(String)).toContain("can be changed by other users");
  chmodSync(path, 0o755);
  chmodSync(root, 0o775);
  const below = `directory ${root} can be changed`;
  expect(await FileSet.open(path, {}).catch(String)).toContain(below);
  const link = join(mkdtempSync(join(tmpdir(), "spire-edge-set-")), "link");
  made.push(dirname(link));
  symlinkSync(path, link);
  expect(await FileSet.open(link, {}).catch(String)).toContain(below);
});

test.if(isRoot)("files belong to whom they are for", async () => {
  const set = await FileSet.open(path, { uid: 1234, gid: 4321 });
  await set.replace(files("1"));
  const { uid, gid } = statSync(join(path, "key.pem"));
  expect([uid, gid]).toEqual([1234, 4321]);
  expect(await set.replace(files("1"))).toEqual([]);
  chownSync(join(path, "key.pem"), 99, 4321);
  expect(await set.replace(files("1"))).toEqual(["key.pem"]);
  mkdirSync(join(root, "theirs"));
  chownSync(join(root, "theirs"), 1234, 0);
  const theirs = await FileSet.open(join(root, "theirs"), {}).catch(String);
  expect(theirs).toContain("can be changed by other users");
});
