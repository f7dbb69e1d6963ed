/**
 * A file of declared entries: `entries`, a list of objects, in HCL, JSON or YAML by the end of the file's name. Whatever is wrong is told
 * with file, line, column and key; all of it at once.
 */
import { ConfigError } from "#config/config-error.ts";
import { parseHcl } from "#config/hcl.ts";
import type { ObjectValue, Value } from "#config/tree.ts";
import { parseYaml } from "#config/yaml.ts";
import type { DeclaredEntry } from "#proto/spire_edge/declared/v1/declared.ts";
import { readEntry } from "./read-entry.ts";

type Parse = (text: string, file: string) => ObjectValue;

/** By the end of the name. */
const SYNTAXES: ReadonlyMap<string, Parse> = new Map([
  ["hcl", parseHcl],
  ["conf", parseHcl],
  ["json", parseJson],
  ["yaml", parseYaml],
  ["yml", parseYaml],
]);

/** The ends of names that are read, for messages. */
export const KNOWN_ENDINGS: string = [...SYNTAXES.keys()].map((end) => `.${end}`).join(", ");

/** Whether a file of that name is read. */
export function isReadable(name: string): boolean {
  return SYNTAXES.has(endingOf(name));
}

/**
 * @param file its name, which also tells the syntax
 * @throws ConfigError with every problem found, a line each
 */
export function readDeclaredFile(content: string, file: string): readonly DeclaredEntry[] {
  const parse = SYNTAXES.get(endingOf(file));
  if (parse === undefined) {
    throw new ConfigError([`${file}: not one of ${KNOWN_ENDINGS}`]);
  }
  const problems: string[] = [];
  const complain = ({ line, column }: Value["at"], what: string): void => {
    problems.push(`${file}:${line}:${column}: ${what}`);
  };
  const items = entriesOf(parse(content, file), complain);
  const declared = items.map((item) => ({
    entry: readEntry(item, complain),
    where: `${file}:${item.at.line}:${item.at.column}`,
  }));
  if (problems.length > 0) throw new ConfigError(problems);
  return declared;
}

/** JSON needs its braces: without them the reader would take the text for HCL. */
function parseJson(content: string, file: string): ObjectValue {
  if (!/^\uFEFF?\s*\{/.test(content)) {
    throw new ConfigError([`${file}:1:1: JSON must be an object: {"entries": […]}`]);
  }
  return parseHcl(content, file);
}

/** HCL writes a list also as blocks of the same name. */
function entriesOf(
  document: ObjectValue,
  complain: (at: Value["at"], what: string) => void,
): readonly ObjectValue[] {
  const found: ObjectValue[] = [];
  let isThere = false;
  for (const { key, value, at } of document.entries) {
    const name = key.toLowerCase();
    // The server prints it behind its entries; it holds nothing.
    if (name === "next_page_token") continue;
    if (name !== "entries") {
      complain(at, `unknown key ${JSON.stringify(key)}; "entries" is wanted`);
      continue;
    }
    isThere = true;
    for (const item of value.kind === "list" ? value.items : [value]) {
      if (item.kind === "object") found.push(item);
      else complain(item.at, "entries: must be a list of objects");
    }
  }
  // A file that was cut off, or emptied by an editor for a moment, must not pass for one that declares nothing.
  if (!isThere)
    complain(document.at, '"entries" is missing; a file without any says: entries = []');
  return found;
}

function endingOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1).toLowerCase();
}
