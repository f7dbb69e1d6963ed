import { expect, test } from "bun:test";
import { createLog } from "./log.ts";
import { Recurring } from "./recurring.ts";

test("a failure is told when it starts, when its reason changes, and anew after it was over", () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "text" }, () => 0, {
    write: (line) => void lines.push(/error="?(.*?)"?$/m.exec(line)?.[1] ?? ""),
  });
  const failing = new Recurring(log);
  expect(failing.over()).toBe(false);
  for (const error of ["away", "away", "late", "away", "late"]) {
    failing.failed("warn", "No sync", { error });
  }
  expect(lines).toEqual(["away", "late"]);
  expect(failing.over()).toBe(true);
  expect(failing.over()).toBe(false);
  failing.failed("error", "No sync", { error: "away" });
  expect(lines).toEqual(["away", "late", "away"]);
  for (let time = 0; time < 1000; time++)
    failing.failed("warn", "No sync", { error: `at ${time}` });
  expect(lines.length).toBeLessThan(20);
});
