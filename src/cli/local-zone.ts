import { readFileSync } from "node:fs";
import { join } from "node:path";

const ZONE_DIRECTORIES = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];

/**
 * The abbreviation of this machine's time zone for an offset from UTC, such as CEST; JavaScript gives only offsets. Undefined
 * when the zone's file (TZif, RFC 9636) is missing or does not know the offset.
 */
export function zoneAbbreviation(offsetSeconds: number): string | undefined {
  const zone = process.env["TZ"];
  if (zone === "" || zone === "UTC") return "UTC";
  for (const path of zoneFiles(zone)) {
    try {
      return abbreviationIn(readFileSync(path), offsetSeconds);
    } catch {
      // Not there or not readable: the next place may have it.
    }
  }
  return offsetSeconds === 0 ? "UTC" : undefined;
}

function zoneFiles(zone: string | undefined): readonly string[] {
  if (zone === undefined) return ["/etc/localtime"];
  const name = zone.startsWith(":") ? zone.slice(1) : zone;
  return name.startsWith("/") ? [name] : ZONE_DIRECTORIES.map((directory) => join(directory, name));
}

const HEADER_BYTES = 44;
const LOCAL_TIME_TYPE_BYTES = 6;

/** The last local time type with that offset: zones list the abbreviations of earlier times first (RFC 9636 §3.2). */
function abbreviationIn(file: Buffer, offsetSeconds: number): string | undefined {
  if (file.toString("latin1", 0, 4) !== "TZif") throw new Error("not a TZif file");
  const block = secondBlock(file);
  const [transitions, types, characters] = [32, 36, 40].map((at) => block.readUInt32BE(at)) as [
    number,
    number,
    number,
  ];
  const timeBytes = block === file ? 4 : 8;
  const typesAt = HEADER_BYTES + transitions * (timeBytes + 1);
  const names = block.subarray(typesAt + types * LOCAL_TIME_TYPE_BYTES).subarray(0, characters);
  let found: string | undefined;
  for (let index = 0; index < types; index++) {
    const at = typesAt + index * LOCAL_TIME_TYPE_BYTES;
    if (block.readInt32BE(at) !== offsetSeconds) continue;
    const start = block.readUInt8(at + 5);
    found = names.toString("latin1", start, names.indexOf(0, start));
  }
  return found;
}

/** Versions 2 and later repeat the data with 64-bit times behind the first block, which may be empty there (RFC 9636 §3.2). */
function secondBlock(file: Buffer): Buffer {
  if (file[4] === 0) return file;
  const [utc, standard, leap, transitions, types, characters] = [20, 24, 28, 32, 36, 40].map((at) =>
    file.readUInt32BE(at),
  ) as [number, number, number, number, number, number];
  const size =
    transitions * 5 + types * LOCAL_TIME_TYPE_BYTES + characters + leap * 8 + standard + utc;
  return file.subarray(HEADER_BYTES + size);
}
