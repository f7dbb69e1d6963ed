/** The values a template computes with: Go's, as far as templates for paths need them. */

export type Value = string | number | bigint | boolean | undefined | List | Dict | Fields;
export type List = readonly Value[];
/** A Go map with string keys; a key that is not there is an error, as the reference has it. */
export type Dict = Map<string, Value>;
/** A Go struct: which fields there are is known before anything runs. */
export interface Fields {
  readonly [name: string]: Value;
}

/** What is wrong with a template, or with what it was given. */
export class TemplateError extends Error {
  override readonly name: string = "TemplateError";
}

export function isList(value: Value): value is List {
  return Array.isArray(value);
}

export function isDict(value: Value): value is Dict {
  return value instanceof Map;
}

/** How messages call a kind of value. */
export function kindOf(value: Value): string {
  if (value === undefined) return "nil";
  if (isList(value)) return "a list";
  if (isDict(value)) return "a map";
  if (typeof value === "number" || typeof value === "bigint") return "a number";
  if (typeof value === "boolean") return "true or false";
  return typeof value === "string" ? "a string" : "a set of fields";
}

/** Whether `if` takes the value for false: false, zero, and whatever is empty. */
export function isEmpty(value: Value): boolean {
  if (isList(value)) return value.length === 0;
  if (isDict(value)) return value.size === 0;
  return value === undefined || value === false || value === "" || value === 0 || value === 0n;
}

/**
 * The value as an action prints it.
 *
 * @throws TemplateError for nil and for fields: what Go prints for them belongs in no path
 */
export function printed(value: Value): string {
  if (isList(value)) return `[${value.map(printed).join(" ")}]`;
  if (isDict(value)) {
    const pairs = [...value].sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${pairs.map(([key, item]) => `${key}:${printed(item)}`).join(" ")}]`;
  }
  if (value === undefined || typeof value === "object") {
    throw new TemplateError(`${kindOf(value)} cannot be printed`);
  }
  return String(value);
}

/** Whether two values are the same all the way down. */
export function sameValue(a: Value, b: Value): boolean {
  if (isList(a)) {
    return isList(b) && a.length === b.length && a.every((item, at) => sameValue(item, b[at]));
  }
  if (isDict(a)) {
    return (
      isDict(b) &&
      a.size === b.size &&
      [...a].every(([key, item]) => b.has(key) && sameValue(item, b.get(key)))
    );
  }
  return a === b;
}

/** The texts of a list, without what is nil; of any other value, its text alone. */
export function textsOf(value: Value): string[] {
  const values = isList(value) ? value : [value];
  return values.filter((item) => item !== undefined).map(printed);
}
