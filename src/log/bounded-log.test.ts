import { beforeEach, expect, test } from "bun:test";
import { BoundedLog } from "./bounded-log.ts";
import { createLog, type Log } from "./log.ts";

/** What was written, and what runs when the window ends. */
let lines: Record<string, unknown>[];
let ends: (() => void)[];
const clock = { after: (_: number, run: () => void) => ends.push(run) };

beforeEach(() => {
  lines = [];
  ends = [];
});

const logAt = (level: "info" | "debug"): Log =>
  createLog({ level, format: "json" }, () => 0, { write: (line) => lines.push(JSON.parse(line)) });

function endWindow(): void {
  for (const end of ends.splice(0)) end();
}

test("one source has its share, one line tells of the rest, and the next window begins anew", () => {
  const bounded = new BoundedLog({ log: logAt("info"), clock, lines: 2 });
  for (let call = 0; call < 1000; call += 1) {
    bounded.from("192.0.2.1", { method: "Attest" }).with({ call }).warn("Permission denied");
  }
  bounded.from("192.0.2.2").info("another source");
  expect(lines.map(({ call, method }) => [call, method])).toEqual([
    [0, "Attest"],
    [1, "Attest"],
    [undefined, undefined],
  ]);
  endWindow();
  expect(lines.slice(3)).toEqual([
    {
      source: "192.0.2.1",
      count: 998,
      seconds: 60,
      last_message: "Permission denied",
      level: "warning",
      msg: "Log lines were left out: too many of one source",
      time: "1970-01-01T00:00:00Z",
    },
  ]);
  bounded.from("192.0.2.1").warn("again");
  expect(lines.at(-1)?.["msg"]).toBe("again");
});

test("however many sources there are, they cannot have a share each", () => {
  const bounded = new BoundedLog({ log: logAt("info"), clock, lines: 1, sources: 3 });
  for (let source = 0; source < 1000; source += 1) bounded.from(String(source)).info("denied");
  expect(lines).toHaveLength(4);
  endWindow();
  expect(lines.slice(4).map(({ source, count }) => [source, count])).toEqual([["others", 996]]);
});

test("a line that the level hides takes nothing from the share", () => {
  const bounded = new BoundedLog({ log: logAt("info"), clock, lines: 1 });
  bounded.from("a").debug("hidden");
  bounded.from("a").info("shown");
  expect(lines.map(({ msg }) => msg)).toEqual(["shown"]);
});

test("at level debug every line is written", () => {
  const bounded = new BoundedLog({ log: logAt("debug"), clock, lines: 1 });
  for (let line = 0; line < 5; line += 1) bounded.from("a").error("denied");
  expect(lines).toHaveLength(5);
});
