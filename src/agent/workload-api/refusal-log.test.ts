import { expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { createLog, type LogLevel } from "#log/log.ts";
import { RefusalLog } from "./refusal-log.ts";

const SELECTORS = new Set(["unix:user:alice", "unix:uid:1000", "unix:uidx:1", "docker:label:a"]);

function refusals(logSelectors: readonly string[], level: LogLevel = "debug") {
  const clock = new ManualClock();
  const lines: Record<string, unknown>[] = [];
  const log = createLog({ level, format: "json" }, () => clock.nowMs(), {
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
  told.noIdentity({ pid: 7, uid: 1000 }, SELECTORS);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({
    msg: "No identity issued",
    level: "warning",
    pid: 7,
    uid: 1000,
  });
  expect(lines[0]?.["registered"]).toBe(false);
  expect(lines[0]?.["selectors"]).toBe(shown);
});

test("a user in a loop is told of a few times, and once at the end; others are not held back", () => {
  const { clock, lines, refusals: told } = refusals([], "info");
  for (let pid = 1; pid <= 100; pid++) told.noIdentity({ pid, uid: 1000 }, SELECTORS);
  told.noIdentity({ pid: 101, uid: 1001 }, SELECTORS);
  expect(lines.map(({ pid }) => pid)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 101]);
  clock.pass(60_000);
  expect(lines.slice(11)).toMatchObject([
    { level: "warning", source: "uid 1000", count: 90, last_message: "No identity issued" },
  ]);
});
