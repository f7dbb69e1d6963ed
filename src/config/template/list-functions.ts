/** The functions of the reference's list that work on lists, maps, and values of any kind. */
import { type TemplateFunction, takes, takesMore } from "./functions.ts";
import {
  type Dict,
  isDict,
  isEmpty,
  isList,
  type List,
  sameValue,
  TemplateError,
  textsOf,
  type Value,
} from "./values.ts";

const list = takesMore([], "any", (...values) => values);
const push = takes(["list", "any"], (values, value) => [...values, value]);

/** Those that have a twin named `must…`, which is the same here: both fail where Sprig's would panic or fail. */
const twins: Readonly<Record<string, TemplateFunction>> = {
  append: push,
  push,
  prepend: takes(["list", "any"], (values, value) => [value, ...values]),
  first: takes(["list"], (values) => values[0]),
  last: takes(["list"], (values) => values.at(-1)),
  rest: takes(["list"], (values) => values.slice(1)),
  initial: takes(["list"], (values) => values.slice(0, -1)),
  reverse: takes(["list"], (values) => values.toReversed()),
  uniq: takes(["list"], (values) =>
    values.filter((value, at) => values.findIndex((other) => sameValue(other, value)) === at),
  ),
  without: takesMore(["list"], "any", (values, ...omitted) =>
    values.filter((value) => !omitted.some((other) => sameValue(other, value))),
  ),
  has: takes(["any", "any"], (wanted, values) => {
    if (values === undefined) return false;
    if (!isList(values)) throw new TemplateError("wants a list");
    return values.some((value) => sameValue(value, wanted));
  }),
  compact: takes(["list"], (values) => values.filter((value) => !isEmpty(value))),
  slice: takesMore(["list"], "number", sliced),
  chunk: takes(["number", "list"], chunks),
};

export const listFunctions: Readonly<Record<string, TemplateFunction>> = {
  ...twins,
  ...Object.fromEntries(
    Object.entries(twins).map(([name, made]) => [
      `must${name.slice(0, 1).toUpperCase()}${name.slice(1)}`,
      made,
    ]),
  ),
  list,
  tuple: list,
  concat: takesMore([], "list", (...lists) => lists.flat()),
  // Sprig's sorts a list of strings in its place, which a template that uses the list again could see; this one does not.
  sortAlpha: takes(["any"], (values) => textsOf(values).sort(byBytes)),
  toStrings: takes(["any"], textsOf),
  default: takesMore(["any"], "any", (fallback, ...given) =>
    isEmpty(given[0]) ? fallback : given[0],
  ),
  empty: takes(["any"], isEmpty),
  coalesce: takesMore([], "any", (...values) => values.find((value) => !isEmpty(value))),
  all: takesMore([], "any", (...values) => !values.some(isEmpty)),
  any: takesMore([], "any", (...values) => values.some((value) => !isEmpty(value))),
  ternary: takes(["any", "any", "boolean"], (yes, no, which) => (which ? yes : no)),
  dict: takesMore([], "any", dict),
  get: takes(["map", "string"], (map, key) => (map.has(key) ? map.get(key) : "")),
  hasKey: takes(["map", "string"], (map, key) => map.has(key)),
  // Sprig changes the map itself, and templates count on it.
  set: takes(["map", "string", "any"], (map, key, value) => map.set(key, value)),
  unset: takes(["map", "string"], (map, key) => {
    map.delete(key);
    return map;
  }),
  pluck: takesMore(["string"], "map", (key, ...maps) =>
    maps.filter((map) => map.has(key)).map((map) => map.get(key)),
  ),
  dig: takesMore(["any", "any", "any"], "any", dig),
  // In order, where Go has none: a path must come out the same each time.
  keys: takesMore([], "map", (...maps) => maps.flatMap(sortedKeys)),
  values: takes(["map"], (map) => sortedKeys(map).map((key) => map.get(key))),
  pick: takesMore(["map"], "string", (map, ...keys) => filtered(map, (key) => keys.includes(key))),
  omit: takesMore(["map"], "string", (map, ...keys) => filtered(map, (key) => !keys.includes(key))),
};

function sliced(values: List, ...bounds: readonly number[]): Value {
  if (values.length === 0) return undefined;
  const [from = 0, to = values.length] = bounds;
  if (from < 0 || from > to || to > values.length) {
    throw new TemplateError(`${from} to ${to} is out of range; there are ${values.length} items`);
  }
  return values.slice(from, to);
}

function chunks(size: number, values: List): Value {
  if (size < 1) throw new TemplateError("chunks have at least one item");
  const count = Math.ceil(values.length / size);
  return Array.from({ length: count }, (_, at) => values.slice(at * size, (at + 1) * size));
}

/** The value under a path of keys in maps within maps; the last argument but one when a key is missing. */
function dig(...given: List): Value {
  let map = given.at(-1);
  for (const key of given.slice(0, -2)) {
    if (!isDict(map) || typeof key !== "string") throw new TemplateError("wants keys and a map");
    if (!map.has(key)) return given.at(-2);
    map = map.get(key);
  }
  return map;
}

function dict(...pairs: List): Dict {
  const made: Dict = new Map();
  for (let at = 0; at < pairs.length; at += 2) {
    const [key = ""] = textsOf(pairs[at]);
    made.set(key, at + 1 < pairs.length ? pairs[at + 1] : "");
  }
  return made;
}

function filtered(map: Dict, keep: (key: string) => boolean): Dict {
  return new Map([...map].filter(([key]) => keep(key)));
}

function sortedKeys(map: Dict): string[] {
  return [...map.keys()].sort(byBytes);
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
