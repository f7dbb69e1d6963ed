import { describe, expect, test } from "bun:test";
import {
  commaListFlag,
  durationFlag,
  eitherFlag,
  FlagError,
  intFlag,
  parseFlags,
  repeatedFlag,
  secondsFlag,
  stringFlag,
  switchFlag,
  usageText,
} from "./flags.ts";
import { outputFlag } from "./printer.ts";

const SPECS = {
  name: stringFlag("A name", "x", ["label"]),
  count: intFlag("A count", 3),
  ttl: secondsFlag("Seconds", 600),
  on: switchFlag("A switch"),
  item: repeatedFlag("An item"),
  list: commaListFlag("A list"),
  either: eitherFlag("Either"),
  wait: durationFlag("A time", 5),
  timeout: durationFlag("A time that says why", 5, "value"),
  output: outputFlag(),
};

const parse = (...words: string[]) => {
  const parsed = parseFlags(SPECS, words);
  return { ...parsed.read(SPECS), given: [...parsed.given] };
};

describe("a flag's value", () => {
  test.each([
    [["-name", "v"], "v"],
    [["--name", "v"], "v"],
    [["-name=v"], "v"],
    [["--name=a=b"], "a=b"],
    [["-name="], ""],
    [["-name", "-count"], "-count"],
    [["-name", "a", "-name", "b"], "b"],
    [["-label", "v"], "v"],
    [[], "x"],
  ])("%p gives %p", (words, value) => {
    expect(parse(...words).name).toBe(value);
  });

  test.each([
    ["90", 90],
    ["0x10", 16],
    ["-7", -7],
    ["1h", 3600],
    ["1h30m", 5400],
    ["1500ms", 2],
    ["-1m", -60],
  ])("seconds %s", (text, value) => {
    expect(parse("-ttl", text).ttl).toBe(value);
  });

  test.each(["", "1d", "1.5", "h", "1h-", "an hour"])("no seconds: %p", (text) => {
    expect(() => parse("-ttl", text)).toThrow(/for flag -ttl: parse error$/);
  });

  test.each([
    ["7", 7],
    ["-7", -7],
    ["+7", 7],
    ["0x10", 16],
    ["0b101", 5],
    ["0o17", 15],
    ["017", 15],
    ["1_000", 1000],
    ["0", 0],
  ])("int %s", (text, value) => {
    expect(parse("-count", text).count).toBe(value);
  });

  test("a switch takes a value only behind an equals sign", () => {
    expect(parse("-on").on).toBe(true);
    expect(parse("-on=F").on).toBe(false);
    expect(parse("-on=1").on).toBe(true);
    const stopped = parse("-on", "false", "-name", "v");
    expect(stopped.on).toBe(true);
    expect(stopped.name).toBe("x");
  });

  test("lists", () => {
    expect(parse("-item", "a", "-item=b,c").item).toEqual(["a", "b,c"]);
    expect(parse("-list", "a,b", "-list", "c,,d").list).toEqual(["c", "", "d"]);
    expect(parse("-either", "false").either).toBe(false);
    expect(parse("-either", "true", "-either", "maybe").either).toBeUndefined();
  });

  test("durations are seconds", () => {
    expect(parse("-wait", "1h30m").wait).toBe(5400);
    expect(parse().wait).toBe(5);
  });

  test("parsing ends at the first word that is no flag, and at two dashes", () => {
    expect(parse("word", "-name", "v").name).toBe("x");
    expect(parse("--", "-name", "v").name).toBe("x");
    expect(parse("-", "-name", "v").name).toBe("x");
    expect(parse("-name", "v", "word", "-on").given).toEqual(["name"]);
  });
});

describe("refused in the words of Go's flag package", () => {
  test.each([
    [["-bogus"], "flag provided but not defined: -bogus"],
    [["--bogus=1"], "flag provided but not defined: -bogus"],
    [["-name"], "flag needs an argument: -name"],
    [["---name"], "bad flag syntax: ---name"],
    [["-=x"], "bad flag syntax: -=x"],
    [["-count", "abc"], 'invalid value "abc" for flag -count: parse error'],
    [["-count", ""], 'invalid value "" for flag -count: parse error'],
    [["-count", "08"], 'invalid value "08" for flag -count: parse error'],
    [["-count", "1__0"], 'invalid value "1__0" for flag -count: parse error'],
    [
      ["-count", "9223372036854775808"],
      'invalid value "9223372036854775808" for flag -count: value out of range',
    ],
    [["-on=maybe"], 'invalid boolean value "maybe" for -on: parse error'],
    [["-wait", "3"], 'invalid value "3" for flag -wait: parse error'],
    [["-timeout", "3"], 'invalid value "3" for flag -timeout: time: missing unit in duration "3"'],
    [
      ["-output", "xml"],
      'invalid value "xml" for flag -output: bad formatter flag: unknown format option: "xml"',
    ],
    [
      ["-output", "json", "-output", "pretty"],
      'invalid value "pretty" for flag -output: the output format has already been set to "json"',
    ],
  ])("%p", (words, message) => {
    expect(() => parse(...words)).toThrow(new FlagError(message));
  });
});

test("the usage lists flags in alphabetical order with type and default", () => {
  const specs = {
    b: switchFlag("Bee"),
    a: stringFlag("Ay", 'x"y'),
    wait: durationFlag("Wait", 90),
  };
  expect(usageText("thing do", specs)).toBe(
    'Usage of thing do:\n  -a string\n    \tAy (default "x\\"y")\n  -b\n    \tBee\n  -wait duration\n    \tWait (default 1m30s)\n',
  );
});
