/** The functions that Go's templates have of their own. */
import { type TemplateFunction, takes, takesMore } from "./functions.ts";
import { formatted } from "./printf.ts";
import { isDict, isEmpty, isList, kindOf, printed, TemplateError, type Value } from "./values.ts";

/** `and` and `or` are here for their count of arguments only: they do not evaluate all of them. */
export const builtins: Readonly<Record<string, TemplateFunction>> = {
  and: takesMore(["any"], "any", (first) => first),
  or: takesMore(["any"], "any", (first) => first),
  not: takes(["any"], (value) => isEmpty(value)),
  eq: takesMore(["any", "any"], "any", (first, ...others) =>
    others.some((other) => isEqual(first, other)),
  ),
  ne: takes(["any", "any"], (a, b) => !isEqual(a, b)),
  lt: takes(["any", "any"], (a, b) => compare(a, b) < 0),
  le: takes(["any", "any"], (a, b) => compare(a, b) <= 0),
  gt: takes(["any", "any"], (a, b) => compare(a, b) > 0),
  ge: takes(["any", "any"], (a, b) => compare(a, b) >= 0),
  len: takes(["any"], lengthOf),
  index: takesMore(["any"], "any", (value, ...keys) => keys.reduce(itemOf, value)),
  print: takesMore([], "any", (...values) => spaced(values)),
  println: takesMore([], "any", (...values) => `${values.map(printed).join(" ")}\n`),
  printf: takesMore(["string"], "any", (format, ...values) => formatted(format, values)),
  urlquery: takesMore([], "any", (...values) => escaped(spaced(values))),
};

/** Go sets a space between two values of which neither is a string. */
function spaced(values: readonly Value[]): string {
  return values
    .map((value, at) => {
      const apart = at > 0 && typeof value !== "string" && typeof values[at - 1] !== "string";
      return (apart ? " " : "") + printed(value);
    })
    .join("");
}

function isEqual(a: Value, b: Value): boolean {
  if (a !== undefined && b !== undefined && typeof a !== typeof b) throw incomparable(a, b);
  if (typeof a === "object" || typeof b === "object") throw incomparable(a, b);
  return a === b;
}

function compare(a: Value, b: Value): number {
  if (typeof a === "string" && typeof b === "string") {
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  if (typeof a === "number" && typeof b === "number") return a - b;
  throw incomparable(a, b);
}

function incomparable(a: Value, b: Value): TemplateError {
  return new TemplateError(`cannot compare ${kindOf(a)} with ${kindOf(b)}`);
}

/** A string is as long as its UTF-8. */
function lengthOf(value: Value): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (isList(value)) return value.length;
  if (isDict(value)) return value.size;
  throw new TemplateError(`${kindOf(value)} has no length`);
}

function itemOf(value: Value, key: Value): Value {
  if (isDict(value) && typeof key === "string") return value.get(key) ?? "";
  if (typeof key !== "number")
    throw new TemplateError(`${kindOf(key)} is no index of ${kindOf(value)}`);
  const items = typeof value === "string" ? [...Buffer.from(value)] : value;
  if (!isList(items)) throw new TemplateError(`${kindOf(value)} has no items`);
  if (key < 0 || key >= items.length) {
    throw new TemplateError(`index ${key} is out of range; there are ${items.length} items`);
  }
  return items[key];
}

/** As Go escapes what goes into the query of a URL. */
function escaped(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
}
