import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { statusValues } from "./process-status.ts";

const STATUS = [
  "Name:\tUid:\\nUid:\t0\t0",
  "Uid:\t997\t996\t995\t994",
  "Groups:\t",
  "CapPrm:\t0000000000080004",
  "CapEff:\t0000000000080004",
  "CapBnd:\t000001ffffffffff",
].join("\n");

test.each([
  ["Uid", ["997", "996", "995", "994"]],
  // An empty line does not take its value from the next one.
  ["Groups", []],
  ["CapEff", ["0000000000080004"]],
  ["CapBnd", ["000001ffffffffff"]],
  ["Cap", []],
])("%s", (label, values) => {
  expect(statusValues(STATUS, label)).toEqual(values);
});

test("this process", () => {
  const status = readFileSync("/proc/self/status", "latin1");
  expect(statusValues(status, "Uid")[1]).toBe(String(process.geteuid?.()));
  expect(statusValues(status, "Pid")).toEqual([String(process.pid)]);
});
