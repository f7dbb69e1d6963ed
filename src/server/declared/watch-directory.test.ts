import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryWatch } from "./watch-directory.ts";

let base: string;
let directory: string;
let watched: DirectoryWatch | undefined;
let noticed: PromiseWithResolvers<void>;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "watch-"));
  directory = join(base, "entries.d");
  mkdirSync(directory);
});
afterEach(() => {
  watched?.close();
  rmSync(base, { recursive: true });
});

async function watch(path: string): Promise<void> {
  watched = new DirectoryWatch(path, () => noticed.resolve());
  await watched.renew();
}

/** Does something, waits until it was noticed, and looks anew as the keeper does. */
async function expectNoticed(act: () => void): Promise<void> {
  noticed = Promise.withResolvers();
  act();
  await noticed.promise;
  await watched?.renew();
}

describe("a watched directory tells", () => {
  test.each<[string, (file: string) => void]>([
    ["comes", (file) => writeFileSync(`${file}.new`, "1")],
    ["changes", (file) => writeFileSync(file, "2")],
    ["takes another name", (file) => renameSync(file, `${file}.new`)],
    ["goes", (file) => unlinkSync(file)],
  ])("of a file that %s", async (_, act) => {
    const file = join(directory, "a.yaml");
    writeFileSync(file, "1");
    await watch(directory);
    await expectNoticed(() => act(file));
  });

  test("when it goes, comes again, and of what is in it then", async () => {
    await watch(directory);
    await expectNoticed(() => rmSync(directory, { recursive: true }));
    await expectNoticed(() => mkdirSync(directory));
    await expectNoticed(() => writeFileSync(join(directory, "a.yaml"), "1"));
  });

  test("when a link is swapped, of its own or on the way to it, and of what is there then", async () => {
    for (const version of ["1", "2"]) mkdirSync(join(base, version, "sub"), { recursive: true });
    const point = (target: string): void => {
      symlinkSync(target, join(base, "new"));
      renameSync(join(base, "new"), join(base, "current"));
    };
    point("1");
    for (const path of [join(base, "current"), join(base, "current", "sub")]) {
      await watch(path);
      await expectNoticed(() => point("2"));
      await expectNoticed(() => writeFileSync(join(path, "a.yaml"), "1"));
      watched?.close();
      point("1");
    }
  });

  test("nothing of its neighbours, and nothing any more when it is closed", async () => {
    await watch(directory);
    noticed = Promise.withResolvers();
    let count = 0;
    void noticed.promise.then(() => count++);
    writeFileSync(join(base, "neighbour"), "1");
    await Bun.sleep(0);
    await expectNoticed(() => writeFileSync(join(directory, "a.yaml"), "1"));
    expect(count).toBe(0);
    watched?.close();
    await watched?.renew();
    writeFileSync(join(directory, "b.yaml"), "1");
    await Bun.sleep(0);
    expect(count).toBe(0);
  });
});
