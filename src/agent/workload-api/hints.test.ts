import { expect, test } from "bun:test";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import { createLog } from "#log/log.ts";
import { LeftOutLog, withoutRepeatedHints } from "./hints.ts";

const identity = (id: string, hint = "", createdAt = 0) => ({
  entry: makeWorkloadEntry(id, { hint, createdAt }),
});

test("Workload API §5.2.1: of two entries with one hint the older stays; without hints all do", () => {
  const all = [
    identity("b", "h", 10),
    identity("a", "h", 20),
    identity("c"),
    identity("d"),
    identity("e", "i", 5),
    identity("f", "i", 5),
  ];
  expect(withoutRepeatedHints(all).map(({ entry }) => entry.id)).toEqual(["b", "c", "d", "e"]);
});

test("an entry that is left out is told of once", () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "text" }, () => 0, {
    write: (line) => void lines.push(line),
  });
  const leftOut = new LeftOutLog(log);
  const both = [identity("b", "h", 10), identity("a", "h", 20)];
  for (let round = 0; round < 3; round++)
    leftOut.withoutRepeatedHints([...both, identity("c"), identity("d")]);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain("level=warning");
  expect(lines[0]).toContain("entry_id=a");
  expect(lines[0]).toContain("older_entry_id=b");
  leftOut.withoutRepeatedHints([...both, identity("e", "h", 30)]);
  expect(lines).toHaveLength(2);
});
