import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { listFiles } from "./list-files.ts";
import { readDirectory } from "./read-directory.ts";
import { readInWorker } from "./read-in-worker.ts";

let base: string;
let directory: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "declared-"));
  directory = join(base, "entries.d");
  mkdirSync(directory, { mode: 0o755 });
});
afterEach(() => rmSync(base, { recursive: true }));

const yaml = (name: string): string =>
  `entries:\n- {spiffe_id: spiffe://example.org/${name}, parent_id: spiffe://example.org/n, selectors: [a:b]}\n`;
function write(name: string, text = yaml("x"), mode = 0o644): void {
  writeFileSync(join(directory, name), text);
  chmodSync(join(directory, name), mode);
}
const wheres = async (path = directory): Promise<string[]> =>
  (await readDirectory(path, "anybody")).declared.map(({ where }) => where);
async function problem(path = directory): Promise<string> {
  return await readDirectory(path, "anybody").then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

describe("a directory of declared entries", () => {
  test("is all its files in order; hidden and half-edited ones are not meant, others are warned of", async () => {
    for (const name of [
      "b.yaml",
      "a.json",
      ".hidden.yaml",
      "b.yaml~",
      ".b.yaml.swp",
      "#b.yaml#",
      "c.yaml.tmp",
    ]) {
      write(name, name.endsWith("json") ? '{"entries": []}' : yaml("x"));
    }
    write("README.md", "no entries");
    mkdirSync(join(directory, "more"));
    const { declared, warnings } = await readDirectory(directory, "anybody");
    expect(declared.map(({ where }) => where)).toEqual(["b.yaml:2:3"]);
    expect(warnings.map((warning) => warning.split(":")[0])).toEqual(["README.md", "more"]);
  });

  test("is read by the thread as it is read here, also in several pieces", async () => {
    const many = Array.from({ length: 600 }, (_, number) => yaml(`w${number}`).split("\n")[1]);
    write("many.yml", `entries:\n${many.join("\n")}\n`);
    write("notes.txt", "");
    expect(await readInWorker(directory, systemClock)).toEqual(
      await readDirectory(directory, "anybody"),
    );
    write("broken.yaml", "entries: [");
    expect(await readInWorker(directory, systemClock).catch(String)).toContain("broken.yaml:1:11");
    rmSync(join(directory, "many.yml"));
    expect(await readInWorker(directory, systemClock).catch(String)).toContain("broken.yaml:1:11");
  });

  test("with one broken file is nothing, and every file's problems are told", async () => {
    write("a.yaml");
    write("b.yaml", "entries: [");
    write("c.hcl", "entries {\n  hint = 5\n}\n");
    expect((await problem()).split("\n")).toEqual([
      expect.stringMatching(/^b\.yaml:1:11: /),
      "c.hcl:2:10: hint: must be a text, in quotation marks",
      "c.hcl:1:9: spiffe_id is missing",
      "c.hcl:1:9: parent_id is missing",
      "c.hcl:1:9: selectors is missing",
    ]);
  });

  test("that is not there, or is none, is an error and not empty", async () => {
    expect(await problem(join(base, "nope"))).toBe(`${base}/nope: no such file or directory`);
    write("a.yaml");
    expect(await problem(join(directory, "a.yaml"))).toContain("is not a directory");
  });

  test("may be swapped by one rename of a link, as may what its files lead to", async () => {
    for (const version of ["..1", "..2"]) {
      mkdirSync(join(directory, version));
      writeFileSync(join(directory, version, "web.yaml"), yaml(version.slice(2)));
    }
    const point = (link: string, target: string): void => {
      symlinkSync(target, join(base, "new-link"));
      renameSync(join(base, "new-link"), link);
    };
    point(join(directory, "..data"), "..1");
    symlinkSync("..data/web.yaml", join(directory, "web.yaml"));
    point(join(base, "current"), "entries.d");
    const path = join(base, "current");
    const paths = async (): Promise<unknown> =>
      (await readDirectory(path, "anybody")).declared.map(({ entry }) => entry?.spiffeId?.path);
    const before = (await listFiles(path, "anybody")).fingerprint;
    expect(await paths()).toEqual(["/1"]);
    point(join(directory, "..data"), "..2");
    expect(await paths()).toEqual(["/2"]);
    expect((await listFiles(path, "anybody")).fingerprint).not.toBe(before);
  });

  test("is refused when a link leads out of it, or to nothing", async () => {
    writeFileSync(join(base, "outside.yaml"), yaml("x"));
    symlinkSync("../outside.yaml", join(directory, "out.yaml"));
    symlinkSync("nothing.yaml", join(directory, "dangling.yaml"));
    expect((await problem()).split("\n")).toEqual([
      "dangling.yaml: no such file or directory",
      `out.yaml: a link that leads out of the directory, to ${base}/outside.yaml`,
    ]);
  });

  test("is refused when everybody may write it, a file of it, or where a file really is", async () => {
    write("a.yaml", yaml("a"), 0o646);
    mkdirSync(join(directory, ".real"));
    writeFileSync(join(directory, ".real", "b.yaml"), yaml("b"));
    chmodSync(join(directory, ".real"), 0o757);
    symlinkSync(".real/b.yaml", join(directory, "b.yaml"));
    expect(await problem()).toContain("a.yaml: everybody may write it (mode 0646)");
    expect(await problem()).toContain("b.yaml: everybody may write it (mode 0757)");
    chmodSync(directory, 0o777);
    expect(await problem()).toContain(`${directory}: everybody may write it (mode 0777)`);
  });

  test("is refused with a file that is none, too large, or not UTF-8", async () => {
    Bun.spawnSync(["mkfifo", join(directory, "pipe.yaml")]);
    expect(await problem()).toContain("pipe.yaml: is not a regular file");
    rmSync(join(directory, "pipe.yaml"));
    write("large.yaml");
    truncateSync(join(directory, "large.yaml"), 4 * 1024 * 1024 + 1);
    expect(await problem()).toContain("large.yaml: larger than 4194304 bytes");
    rmSync(join(directory, "large.yaml"));
    writeFileSync(join(directory, "latin.yaml"), Uint8Array.of(0xe9));
    expect(await problem()).toBe("latin.yaml: not text in UTF-8");
  });

  test("has another fingerprint after whatever happens to a file that is read, and to no other", async () => {
    write("a.yaml");
    const seen = new Set<string>();
    const look = async (): Promise<number> =>
      seen.add((await listFiles(directory, "anybody")).fingerprint).size;
    expect(await look()).toBe(1);
    write(".a.yaml.swp");
    write("notes.txt");
    expect(await look()).toBe(1);
    write("a.yaml", yaml("y"));
    expect(await look()).toBe(2);
    write("b.yaml");
    expect(await look()).toBe(3);
    renameSync(join(directory, "b.yaml"), join(directory, "c.yaml"));
    expect(await look()).toBe(4);
    chmodSync(join(directory, "c.yaml"), 0o600);
    expect(await look()).toBe(5);
    expect(readdirSync(directory)).toContain("c.yaml");
    expect(await wheres()).toEqual(["a.yaml:2:3", "c.yaml:2:3"]);
  });
});
