import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { Chance } from "./chance.ts";
import { killAtRandom } from "./kill-at-random.ts";

const PROGRAM = join(import.meta.dir, "create-entries.ts");
const THREAD = Bun.resolveSync(
  "#server/datastore/sqlite/writing/writer-thread.ts",
  import.meta.dir,
);
const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spire-kill-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Kills the program again and again on one database; every entry it ever acknowledged has to be there after each kill. */
async function killAndLook(command: readonly string[], rounds: number): Promise<void> {
  const path = join(directory, `${rounds}.sqlite3`);
  const chance = Chance.start("datastore-kill");
  const acknowledged: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const moment = chance.fraction();
    acknowledged.push(
      ...(await killAtRandom({
        command: [...command, path, `r${round}`],
        acknowledged: (line) => /^created (\S+)$/.exec(line)?.[1],
        withinMs: 150,
        moment,
      })),
    );
    const store = await openSqliteDataStore({ path, log });
    const { items } = await store.entries.list({}, { size: 0, token: "" });
    await store.close();
    const stored = new Set(items.map(({ id }) => id));
    const lost = acknowledged.filter((id) => !stored.has(id));
    expect({ round, moment, lost }).toEqual({ round, moment, lost: [] });
  }
  expect(acknowledged.length).toBeGreaterThan(rounds * 100);
}

test("kill -9 in the middle of writing, 20 times: nothing acknowledged is lost", async () => {
  await killAndLook([process.execPath, PROGRAM], 20);
}, 120_000);

test("the same of an executable, where the writer thread is inside the file", async () => {
  const executable = join(directory, "create-entries");
  const built = spawnSync(
    process.execPath,
    [
      ...["build", "--compile", "--minify", "--bytecode", "--format=esm"],
      ...["--entry-naming", "[name].[ext]", "--outfile", executable, PROGRAM, THREAD],
    ],
    { encoding: "utf8" },
  );
  expect(built.stderr).not.toContain("error");
  await killAndLook([executable], 5);
}, 120_000);
