import { expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { createLog } from "#log/log.ts";
import { RefusalLog } from "./refusal-log.ts";

const SELECTORS = new Set(["unix:user:alice", "unix:uid:1000", "unix:uidx:1", "docker:label:a"]);

function refusals(logSelectors: readonly string[]) {
  const clock = new ManualClock();
  const lines: Record<string, unknown>[] = [];
  const log = createLog({ level: "debug", format: "json" }, () => clock.nowMs(), {
    write: (line) => void lines.push(JSON.parse(line)),
  });
  return {
    clock,
    lines,
    refusals: new RefusalLog({ logSelectors: () => logSelectors, clock, log }),
  };
}

test.each([
  [[], undefined],
  [["unix:uid"], "unix:uid:1000"],
  [["unix"], "unix:uid:1000,unix:uidx:1,unix:user:alice"],
  [["docker", "unix:uid:1000"], "docker:label:a,unix:uid:1000"],
  [["k8s", "unix:u"], undefined],
])("log_selectors %j show %p", (logSelectors, shown) => {
  const { lines, refusals: told } = refusals(logSelectors);
  told.noIdentity(7, SELECTORS);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ msg: "No identity issued", level: "error", pid: 7 });
  expect(lines[0]?.["registered"]).toBe(false);
  expect(lines[0]?.["selectors"]).toBe(shown);
});

test("one in a loop is an error once a second, others are not held back", () => {
  const { clock, lines, refusals: told } = refusals([]);
  const levels = (): unknown[] => lines.splice(0).map(({ level }) => level);
  for (let calls = 0; calls < 3; calls++) told.noIdentity(7, SELECTORS);
  told.noIdentity(8, new Set(["unix:uid:1"]));
  expect(levels()).toEqual(["error", "debug", "debug", "error"]);
  clock.pass(1000);
  told.noIdentity(7, SELECTORS);
  expect(levels()).toEqual(["error"]);
});
