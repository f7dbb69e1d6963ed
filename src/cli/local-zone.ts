import { readFileSync } from "node:fs";
import { join } from "node:path";

const ZONE_DIRECTORIES = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
const HOUR_SECONDS = 3600;

/**
 * The abbreviation that this machine's time zone now has for an offset from UTC, such as CEST; JavaScript gives only offsets.
 * Undefined when the zone's file is missing, or the offset is one of the past.
 */
export function zoneAbbreviation(offsetSeconds: number): string | undefined {
  const zone = process.env["TZ"];
  if (zone === "" || zone === "UTC") return "UTC";
  for (const path of zoneFiles(zone)) {
    const rule = zoneRule(path);
    if (rule !== undefined) return abbreviationIn(rule, offsetSeconds);
  }
  return offsetSeconds === 0 ? "UTC" : undefined;
}

function zoneFiles(zone: string | undefined): readonly string[] {
  if (zone === undefined) return ["/etc/localtime"];
  const name = zone.startsWith(":") ? zone.slice(1) : zone;
  return name.startsWith("/") ? [name] : ZONE_DIRECTORIES.map((directory) => join(directory, name));
}

/** The rule for times from now on, which a zone's file holds as its last line (TZif, RFC 9636 §3.3). */
function zoneRule(path: string): string | undefined {
  try {
    const lines = readFileSync(path, "latin1").split("\n");
    return lines.at(-2);
  } catch {
    // Not there: the next place may have it.
    return undefined;
  }
}

const NAME = "<[^>]+>|[A-Za-z]+";
const OFFSET = "[+-]?[0-9]+(?::[0-9]+){0,2}";
/** POSIX TZ: the name and offset of standard time, then those of summer time, which is an hour ahead unless it says otherwise. */
const RULE = new RegExp(`^(${NAME})(${OFFSET})(?:(${NAME})(${OFFSET})?)?`);

function abbreviationIn(rule: string, offsetSeconds: number): string | undefined {
  const match = RULE.exec(rule);
  if (match === null) return undefined;
  const [, standard = "", standardOffset = "0", summer, summerOffset] = match;
  const standardSeconds = posixSeconds(standardOffset);
  if (standardSeconds === offsetSeconds) return bare(standard);
  const summerSeconds =
    summerOffset === undefined ? standardSeconds + HOUR_SECONDS : posixSeconds(summerOffset);
  return summer !== undefined && summerSeconds === offsetSeconds ? bare(summer) : undefined;
}

/** POSIX counts hours west of Greenwich: EST5 is five hours behind UTC. */
function posixSeconds(text: string): number {
  const [hours = 0, minutes = 0, seconds = 0] = text.replace(/^[+-]/, "").split(":").map(Number);
  const west = hours * HOUR_SECONDS + minutes * 60 + seconds;
  return text.startsWith("-") ? west : -west;
}

function bare(name: string): string {
  return name.replace(/^<|>$/g, "");
}
