import { expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { createLog } from "#log/log.ts";
import { keepStatusLine, momentText } from "./status-line.ts";

const log = createLog({ level: "debug", format: "text" }, () => 0, { write: () => undefined });

function keep() {
  const clock = new ManualClock();
  const told: string[] = [];
  const state = { text: "first", asked: 0, listening: 0 };
  let listener = (): void => {};
  const source = {
    text: async () => {
      state.asked++;
      if (state.text === "broken") throw new Error("broken");
      return state.text;
    },
    onChange: (call: () => void) => {
      state.listening++;
      listener = call;
      return () => void state.listening--;
    },
  };
  const timer = keepStatusLine({ source, tell: (text) => told.push(text), clock, log }, "first");
  const change = (text: string): void => {
    state.text = text;
    listener();
  };
  const pass = async (ms: number): Promise<void> => {
    clock.pass(ms);
    await Promise.resolve();
    await Promise.resolve();
  };
  return { told, state, timer, change, pass };
}

test("a change is told, and what follows it at most every five seconds, as it is by then", async () => {
  const { told, change, pass, state } = keep();
  await pass(5_000);
  change("second");
  await pass(500);
  expect(told).toEqual(["second"]);
  for (let count = 0; count < 100; count++) change(`third ${count}`);
  await pass(4_999);
  expect(told).toEqual(["second"]);
  await pass(1);
  expect(told).toEqual(["second", "third 99"]);
  expect(state.asked).toBe(2);
});

test("nothing is worked out while nothing changes, and nothing told that reads the same", async () => {
  const { told, change, pass, state } = keep();
  await pass(600_000);
  expect(state.asked).toBe(0);
  change("first");
  await pass(500);
  expect(state.asked).toBe(1);
  expect(told).toEqual([]);
});

test("a line that cannot be worked out is left for the next change", async () => {
  const { told, change, pass } = keep();
  await pass(5_000);
  change("broken");
  await pass(500);
  change("whole");
  await pass(5_000);
  expect(told).toEqual(["whole"]);
});

test("once cancelled it tells nothing, also of what had changed before", async () => {
  const { told, change, pass, timer, state } = keep();
  change("second");
  timer.cancel();
  await pass(60_000);
  expect(told).toEqual([]);
  expect(state.listening).toBe(0);
});

test("moments are in UTC, to the second", () => {
  expect(momentText(1_700_000_000)).toBe("2023-11-14 22:13:20 UTC");
});
