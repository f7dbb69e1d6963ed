/** Times and durations of time as Go prints them: the layouts that people's scripts cut fields out of. */
import { goQuote } from "./go-text.ts";
import { zoneAbbreviation } from "./local-zone.ts";

const two = (value: number): string => String(Math.abs(value)).padStart(2, "0");

/** `2033-05-18 03:33:20 +0000 UTC`. @param seconds Unix seconds */
export function utcTime(seconds: number): string {
  return `${civil(new Date(seconds * 1000))} +0000 UTC`;
}

/** `2033-05-18 05:33:20 +0200 CEST`: in the zone of this machine. @param seconds Unix seconds */
export function localTime(seconds: number): string {
  const offsetMinutes = -new Date(seconds * 1000).getTimezoneOffset();
  const shifted = new Date((seconds + offsetMinutes * 60) * 1000);
  const sign = offsetMinutes < 0 ? "-" : "+";
  const whole = Math.abs(offsetMinutes);
  const offset = `${sign}${two(Math.trunc(whole / 60))}${two(whole % 60)}`;
  return `${civil(shifted)} ${offset} ${zoneAbbreviation(offsetMinutes * 60) ?? offset}`;
}

/** `2033-05-18T03:33:20Z`. @param seconds Unix seconds */
export function rfc3339(seconds: number): string {
  return `${civil(new Date(seconds * 1000)).replace(" ", "T")}Z`;
}

function civil(date: Date): string {
  const day = `${String(date.getUTCFullYear()).padStart(4, "0")}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  return `${day} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
}

const LAYOUT = "2006-01-02 15:04:05 -0700 -07";

/** The parts of the layout, in order: what a text must start with there, and how Go names the part. */
const PARTS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ["2006", /^\d{4}/],
  ["-", /^-/],
  ["01", /^\d{2}/],
  ["-", /^-/],
  ["02", /^\d{2}/],
  [" ", /^(?: +|$)/],
  ["15", /^\d{1,2}/],
  [":", /^:/],
  ["04", /^\d{2}/],
  [":", /^:/],
  ["05", /^\d{2}(?:[.,]\d+)?/],
  [" ", /^(?: +|$)/],
  ["-0700", /^[+-]\d{4}/],
  [" ", /^(?: +|$)/],
  ["-07", /^[+-]\d{2}/],
];

/**
 * Checks a date that a filter is to compare with.
 *
 * @throws Error in the words of Go's time.Parse
 */
export function checkDate(text: string): void {
  let rest = text;
  const found: string[] = [];
  for (const [name, pattern] of PARTS) {
    const match = pattern.exec(rest);
    if (match === null) {
      throw new Error(
        `parsing time ${goQuote(text)} as ${goQuote(LAYOUT)}: cannot parse ${goQuote(rest)} as ${goQuote(name)}`,
      );
    }
    found.push(match[0]);
    rest = rest.slice(match[0].length);
  }
  const problem = rangeProblem(found) ?? (rest === "" ? undefined : `extra text: ${goQuote(rest)}`);
  if (problem !== undefined) throw new Error(`parsing time ${goQuote(text)}: ${problem}`);
}

function rangeProblem(parts: readonly string[]): string | undefined {
  const number = (index: number): number =>
    Math.trunc(Number((parts[index] ?? "0").replace(",", ".")));
  const [year, month, day] = [number(0), number(2), number(4)];
  if (month < 1 || month > 12) return "month out of range";
  const days = new Date(Date.UTC(2000, month, 0)).getUTCDate();
  const leap = new Date(Date.UTC(year, 2, 0)).getUTCDate() === 29;
  if (day < 1 || day > (month === 2 && !leap ? 28 : days)) return "day out of range";
  if (number(6) > 23) return "hour out of range";
  if (number(8) > 59) return "minute out of range";
  if (number(10) > 59) return "second out of range";
  const offset = parts[12] ?? "";
  if (Number(offset.slice(1, 3)) > 24) return "time zone offset hour out of range";
  if (Number(offset.slice(3)) > 60) return "time zone offset minute out of range";
  return undefined;
}
