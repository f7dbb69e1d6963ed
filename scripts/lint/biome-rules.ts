import {
  apart,
  type Exception,
  exceptions,
  lessOutside,
  outsideSrc,
  rooms,
  within,
  withoutRuntime,
} from "./rooms.ts";

const TABLE = "scripts/lint/rooms.ts";
const TESTS = ["!**/*.test.ts", "!**/*.fixture.ts", "!**/*.conformance.ts"];

const words = (list: string | undefined): string[] => (list ?? "").split(" ").filter(Boolean);
const outerOf = (room: string): string => room.split("/")[0] ?? "";

/** Whether the table gives the room as one that may be imported from elsewhere: all that lies in it, or one file. */
const wholly = (room: string): string => (room.endsWith(".ts") ? `!#${room}` : `!#${room}/**`);
const directly = (room: string): string => (room.endsWith(".ts") ? `!#${room}` : `!#${room}/*`);

interface Override {
  readonly includes: readonly string[];
  readonly linter: { readonly rules: Record<string, Record<string, unknown>> };
}

function restricted(
  includes: readonly string[],
  group: readonly string[],
  message: string,
): Override {
  const options = { patterns: [{ group: ["../**", "#*/**", ...group], message }] };
  return {
    includes,
    linter: { rules: { style: { noRestrictedImports: { level: "error", options } } } },
  };
}

function roomRules(room: string): Override[] {
  const allowed = [room, ...words(rooms[room])];
  const message = `src/${room} may import only: ${allowed.join(" ")} (${TABLE})`;
  const group = allowed.map(wholly);
  const rule = restricted([`src/${room}/**`], group, message);
  if (!withoutRuntime.includes(room)) return [rule];
  // Its tests have Bun's test runner.
  const pure = [...group, "node:*", "bun", "bun:*"];
  return [rule, restricted([`src/${room}/**`, ...TESTS], pure, message)];
}

/** What a room within another may have of the rooms outside: what the nearest room around it may. */
function outsideOf(room: string): string | undefined {
  if (!room.includes("/")) return rooms[room];
  return lessOutside[room] ?? outsideOf(room.slice(0, room.lastIndexOf("/")));
}

/** The allowances of a room within another: those of the rooms outside, then what it may have of the outer room. */
function withinGroup(room: string): string[] {
  const outside = words(outsideOf(room));
  // A line for many rooms gives none of them the others; its own files a room has as `./sibling.ts`.
  const own = room.endsWith("*") ? [] : [room];
  return [...outside.map(wholly), ...[...own, ...words(within[room])].map(directly)];
}

function withinRule(room: string): Override {
  const outer = outerOf(room);
  return restricted(
    [`src/${room}/*.ts`, ...TESTS],
    withinGroup(room),
    `of src/${outer}, src/${room} may import only: ${[room, ...words(within[room])].join(" ")} (${TABLE})`,
  );
}

function apartRule(file: string): Override {
  const other = apart[file] ?? "";
  const room = file.slice(0, file.lastIndexOf("/"));
  return restricted(
    [`src/${file}`],
    [...withinGroup(room), `./${other}`, `#${room}/${other}`],
    `src/${file} never imports ${other} (${TABLE})`,
  );
}

function exceptionRule({ rule, files }: Exception): Override {
  const [category = "", name = ""] = rule.split("/");
  return { includes: files, linter: { rules: { [category]: { [name]: "off" } } } };
}

/** Biome's rules for the rooms, as the text of a file that biome.json extends. Later rules take the place of earlier ones. */
export function biomeRules(): string {
  const overrides = [
    ...Object.keys(rooms).flatMap(roomRules),
    ...Object.keys(within).map(withinRule),
    ...Object.keys(apart).map(apartRule),
    ...exceptions.map(exceptionRule),
  ];
  return `${JSON.stringify({ overrides }, null, 2)}\n`;
}

/** The `imports` of package.json that the table asks for. */
export function packageImports(): Record<string, string> {
  const all = [
    ...Object.keys(rooms).map((room) => [`#${room}/*`, `./src/${room}/*`]),
    ...Object.entries(outsideSrc).map(([name, folder]) => [`#${name}/*`, `./${folder}/*`]),
  ];
  return Object.fromEntries(all);
}

/** Whether the table has a line for a folder of src. */
export function isRoom(folder: string): boolean {
  const outer = folder.slice(0, folder.lastIndexOf("/") + 1);
  return folder in rooms || folder in within || `${outer}*` in within;
}
