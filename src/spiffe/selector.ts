/** A native property of a node or workload, as an attestor saw it: `unix` + `uid:1000`. */
export interface Selector {
  readonly type: string;
  readonly value: string;
}

/** How the selectors of a filter relate to those of a record. */
export type MatchBehavior = "exact" | "subset" | "superset" | "any";

/** Of types that nearly all selectors have, one text is shared. */
const TYPES: ReadonlyMap<string, string> = new Map(
  ["unix", "systemd", "x509pop", "spiffe_id"].map((type) => [type, type]),
);

/**
 * Reads `type:value` as the command line writes it. The value may hold further colons.
 *
 * @throws Error when there is no colon
 */
export function parseSelector(text: string): Selector {
  const colon = text.indexOf(":");
  if (colon === -1) {
    throw new Error(`selector ${JSON.stringify(text)} must be formatted as type:value`);
  }
  const type = text.slice(0, colon);
  return { type: TYPES.get(type) ?? type, value: text.slice(colon + 1) };
}

/** The one spelling of a selector. A type never holds a colon, so two selectors are equal when their keys are. */
export function selectorKey(selector: Selector): string {
  return `${selector.type}:${selector.value}`;
}

/** Orders selectors by type, then value, in byte order as the reference does. */
export function compareSelectors(a: Selector, b: Selector): number {
  if (a.type !== b.type) return a.type < b.type ? -1 : 1;
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return 0;
}

/**
 * What is wrong with a selector that is to be stored, or undefined.
 *
 * The messages are those of the reference's API, which clients match on.
 */
export function selectorProblem(selector: Selector): string | undefined {
  if (selector.type === "") return "missing selector type";
  if (selector.type.includes(":")) return "selector type contains ':'";
  if (selector.value === "") return "missing selector value";
  return undefined;
}

/** Whether a set of selectors matches a filter set in the given way. Both are read as sets. */
export function selectorsMatch(
  record: ReadonlySet<string>,
  filter: ReadonlySet<string>,
  behavior: MatchBehavior,
): boolean {
  switch (behavior) {
    case "exact":
      return record.size === filter.size && record.isSubsetOf(filter);
    case "subset":
      return record.isSubsetOf(filter);
    case "superset":
      return record.isSupersetOf(filter);
    case "any":
      return !record.isDisjointFrom(filter);
  }
}
