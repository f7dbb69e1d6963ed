/** Files of an SVID when the process that replaces them is killed in the middle. */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FileSet } from "#files/file-set.ts";
import { Stage } from "../support/spire.ts";
import { Chance } from "./chance.ts";
import { killAtRandom } from "./kill-at-random.ts";

const PROGRAM = join(import.meta.dir, "write-file-sets.ts");
const NAMES = ["bundle.pem", "key.pem", "svid.pem"];
const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("kill -9 in the middle of replacing, 20 times: the files are whole and of one set, no older than the last that was told of", async () => {
  const directory = stage.room("set");
  const chance = Chance.start("file-set");
  let next = 0;
  for (let round = 0; round < 20; round++) {
    const moment = chance.fraction();
    const acknowledged = await killAtRandom({
      command: [process.execPath, PROGRAM, directory, String(next)],
      acknowledged: (line) => /^wrote (\d+)$/.exec(line)?.[1],
      withinMs: 60,
      moment,
    });
    const texts = NAMES.map((name) => readFileSync(join(directory, name), "utf8"));
    const [number = ""] = texts[0]?.split("\n") ?? [];
    expect({ round, moment, texts }).toEqual({
      round,
      moment,
      texts: NAMES.map(() => `${number}\n`.repeat(1000)),
    });
    expect(Number(number)).toBeGreaterThanOrEqual(Number(acknowledged.at(-1)));
    next = Number(number) + 1;
  }
  await FileSet.open(directory, {});
  const left = readdirSync(directory).filter((name) => name.startsWith("..set-"));
  expect(left).toHaveLength(1);
}, 120_000);
