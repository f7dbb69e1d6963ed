import { afterEach, describe, expect, test } from "bun:test";
import { goQuote } from "./go-text.ts";
import { checkDate, localTime, rfc3339, utcTime } from "./go-time.ts";

const zone = process.env["TZ"];
afterEach(() => {
  if (zone === undefined) delete process.env["TZ"];
  else process.env["TZ"] = zone;
});

describe("times", () => {
  test.each([
    [2_000_000_000, "2033-05-18 03:33:20 +0000 UTC"],
    [0, "1970-01-01 00:00:00 +0000 UTC"],
    [253_402_300_800, "10000-01-01 00:00:00 +0000 UTC"],
    [-1, "1969-12-31 23:59:59 +0000 UTC"],
  ])("%d in UTC", (seconds, text) => {
    expect(utcTime(seconds)).toBe(text);
  });

  test("as RFC 3339", () => {
    expect(rfc3339(2_000_000_000)).toBe("2033-05-18T03:33:20Z");
  });

  test.each([
    ["UTC", "2033-05-18 03:33:20 +0000 UTC"],
    ["", "2033-05-18 03:33:20 +0000 UTC"],
    ["Europe/Berlin", "2033-05-18 05:33:20 +0200 CEST"],
    ["America/New_York", "2033-05-17 23:33:20 -0400 EDT"],
    ["Asia/Kolkata", "2033-05-18 09:03:20 +0530 IST"],
    ["Australia/Adelaide", "2033-05-18 13:03:20 +0930 ACST"],
    ["Europe/Dublin", "2033-05-18 04:33:20 +0100 IST"],
    ["America/Sao_Paulo", "2033-05-18 00:33:20 -0300 -03"],
    ["America/St_Johns", "2033-05-18 01:03:20 -0230 NDT"],
  ])("in the zone %s", (name, text) => {
    process.env["TZ"] = name;
    expect(localTime(2_000_000_000)).toBe(text);
  });
});

describe("a date for a filter", () => {
  test.each([
    "2026-01-02 15:04:05 -0700 -07",
    "2024-02-29 00:00:00 +0000 +00",
    "2026-01-02 1:02:03.5 +0100 +02",
  ])("%s is taken", (text) => {
    expect(() => checkDate(text)).not.toThrow();
  });

  const LAYOUT = '"2006-01-02 15:04:05 -0700 -07"';
  test.each([
    ["x", `parsing time "x" as ${LAYOUT}: cannot parse "x" as "2006"`],
    ["2023-01-02", `parsing time "2023-01-02" as ${LAYOUT}: cannot parse "" as "15"`],
    [
      "2023-01-02 01:02:03 0100 +02",
      `parsing time "2023-01-02 01:02:03 0100 +02" as ${LAYOUT}: cannot parse "0100 +02" as "-0700"`,
    ],
    [
      "2023-13-01 00:00:00 +0000 +00",
      'parsing time "2023-13-01 00:00:00 +0000 +00": month out of range',
    ],
    [
      "2023-02-29 00:00:00 +0000 +00",
      'parsing time "2023-02-29 00:00:00 +0000 +00": day out of range',
    ],
    [
      "2023-01-02 25:00:00 +0000 +00",
      'parsing time "2023-01-02 25:00:00 +0000 +00": hour out of range',
    ],
    [
      "2023-01-02 01:02:03 +0000 +00x",
      'parsing time "2023-01-02 01:02:03 +0000 +00x": extra text: "x"',
    ],
    [
      "2023-01-02 01:02:03 +2500 +02",
      'parsing time "2023-01-02 01:02:03 +2500 +02": time zone offset hour out of range',
    ],
  ])("%s is refused", (text, message) => {
    expect(() => checkDate(text)).toThrow(new Error(message));
  });
});

test.each([
  ['a"b\\', '"a\\"b\\\\"'],
  ["\n\t\u0000\u007f", '"\\n\\t\\x00\\x7f"'],
  ["é€😀", '"é€😀"'],
  ["\u200b\u2028", '"\\u200b\\u2028"'],
])("%p is quoted as Go does", (text, quoted) => {
  expect(goQuote(text)).toBe(quoted);
});
