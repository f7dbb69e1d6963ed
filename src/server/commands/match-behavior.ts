import type { SelectorMatch } from "#proto/spire/api/types/selector.ts";
import { type MatchBehavior, parseSelector } from "#spiffe/selector.ts";
import { errorText } from "#spiffe/status-error.ts";

/** The wire numbers; the enums of selectors and of federated trust domains share them. */
const MATCH_NUMBERS = { exact: 0, subset: 1, superset: 2, any: 3 } as const;

export type MatchNumber = (typeof MATCH_NUMBERS)[MatchBehavior];

/** The number of `exact`, `subset`, `superset` or `any`; undefined for any other word. */
export function matchNumber(word: string): MatchNumber | undefined {
  return Object.hasOwn(MATCH_NUMBERS, word) ? MATCH_NUMBERS[word as MatchBehavior] : undefined;
}

/**
 * The selector part of a filter; undefined when there are no selectors.
 *
 * @param problem words for a selector that cannot be read, given the selector
 * @throws Error
 */
export function selectorFilter(
  selectors: readonly string[],
  match: MatchNumber | undefined,
  unknownMatch: string,
  problem: (selector: string) => string,
): SelectorMatch | undefined {
  if (selectors.length === 0) return undefined;
  if (match === undefined) throw new Error(unknownMatch);
  const parsed = selectors.map((text) => {
    try {
      return parseSelector(text);
    } catch (error) {
      throw new Error(`${problem(text)}: ${errorText(error)}`, { cause: error });
    }
  });
  return { selectors: parsed, match };
}
