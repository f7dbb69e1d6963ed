import { compareSelectors, parseSelector, type Selector, selectorKey } from "#spiffe/selector.ts";

/** The one spelling of a set of selectors, for comparing sets as texts: a JSON list of `type:value`, sorted, no repetitions. */
export function selectorSetText(selectors: readonly Selector[]): string {
  return JSON.stringify([...new Set([...selectors].sort(compareSelectors).map(selectorKey))]);
}

export function parseSelectorSet(text: string): Selector[] {
  return parseTextList(text).map(parseSelector);
}

const NONE: readonly string[] = [];

/**
 * Reads a JSON list of texts that this program wrote.
 *
 * @throws Error when it is none, which means that the stored record was tampered with
 */
export function parseTextList(text: string): readonly string[] {
  if (text === "[]") return NONE;
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list) || !list.every((item) => typeof item === "string")) {
    throw new Error("a stored list is not a list of texts");
  }
  return list;
}
