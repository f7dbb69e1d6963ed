/** The functions of the reference's list that work with regular expressions. */
import { type TemplateFunction, takes } from "./functions.ts";
import { type Match, Regex } from "./regex.ts";

/** Each has a twin named `must…`, which is the same here: an expression that cannot be read fails either way. */
const twins: Readonly<Record<string, TemplateFunction>> = {
  regexMatch: takes(
    ["string", "string"],
    (pattern, text) => new Regex(pattern).find(Array.from(text), 0) !== undefined,
  ),
  regexFind: takes(["string", "string"], (pattern, text) => {
    const characters = Array.from(text);
    const match = new Regex(pattern).find(characters, 0);
    return match === undefined ? "" : part(characters, match, 0);
  }),
  regexFindAll: takes(["string", "string", "number"], (pattern, text, count) => {
    const characters = Array.from(text);
    const all = new Regex(pattern).findAll(characters).map((match) => part(characters, match, 0));
    return count < 0 ? all : all.slice(0, count);
  }),
  regexReplaceAll: takes(["string", "string", "string"], (pattern, text, replacement) =>
    replaced(pattern, text, (characters, match, names) =>
      expanded(replacement, characters, match, names),
    ),
  ),
  regexReplaceAllLiteral: takes(["string", "string", "string"], (pattern, text, replacement) =>
    replaced(pattern, text, () => replacement),
  ),
  regexSplit: takes(["string", "string", "number"], split),
};

export const regexFunctions: Readonly<Record<string, TemplateFunction>> = {
  ...twins,
  ...Object.fromEntries(
    Object.entries(twins).map(([name, made]) => [`mustR${name.slice(1)}`, made]),
  ),
  regexQuoteMeta: takes(["string"], (text) => text.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&")),
};

/** The text of a group; empty when it took no part. */
function part(characters: readonly string[], match: Match, group: number): string {
  const [start, end] = [match[2 * group], match[2 * group + 1]];
  return start === undefined || end === undefined ? "" : characters.slice(start, end).join("");
}

type Names = ReadonlyMap<string, number>;

function replaced(
  pattern: string,
  text: string,
  replacement: (characters: readonly string[], match: Match, names: Names) => string,
): string {
  const regex = new Regex(pattern);
  const characters = Array.from(text);
  let made = "";
  let last = 0;
  for (const match of regex.findAll(characters)) {
    const [start = 0, end = 0] = match;
    made += characters.slice(last, start).join("") + replacement(characters, match, regex.names);
    last = end;
  }
  return made + characters.slice(last).join("");
}

/** `$1`, `${1}`, `$name`, `${name}` and `$$`; a group that there is not is empty, and the longest name counts. */
function expanded(
  replacement: string,
  characters: readonly string[],
  match: Match,
  names: Names,
): string {
  return replacement.replace(/\$(?:(\$)|(\w+)|\{(\w+)\})/g, (_all, dollar, bare, braced) => {
    if (dollar !== undefined) return "$";
    const name: string = bare ?? braced;
    const group = /^(0|[1-9]\d*)$/.test(name) ? Number(name) : names.get(name);
    return group === undefined ? "" : part(characters, match, group);
  });
}

function split(pattern: string, text: string, count: number): string[] {
  if (count === 0) return [];
  const characters = Array.from(text);
  const matches = new Regex(pattern).findAll(characters);
  if (pattern !== "" && text === "") return [""];
  const parts: string[] = [];
  let from = 0;
  let to = 0;
  for (const match of count < 0 ? matches : matches.slice(0, count)) {
    if (parts.length === count - 1) break;
    const [start = 0, end = 0] = match;
    to = start;
    if (end !== 0) parts.push(characters.slice(from, start).join(""));
    from = end;
  }
  if (to !== characters.length) parts.push(characters.slice(from).join(""));
  return parts;
}
