import type {
  SelectorMatch,
  Selector as SelectorMessage,
} from "#proto/spire/api/types/selector.ts";
import type { SelectorFilter } from "#server/datastore/datastore.ts";
import {
  compareSelectors,
  type MatchBehavior,
  type Selector,
  selectorKey,
  selectorProblem,
} from "#spiffe/selector.ts";

/** The match behaviours by their wire numbers; SelectorMatch and FederatesWithMatch share them. */
const MATCH_BEHAVIORS: readonly MatchBehavior[] = ["exact", "subset", "superset", "any"];

/** @throws Error for a number that names no behaviour */
export function matchBehaviorFrom(wire: number): MatchBehavior {
  const behavior = MATCH_BEHAVIORS[wire];
  if (behavior === undefined) throw new Error(`unhandled match behavior ${wire}`);
  return behavior;
}

/** Reads selectors as they came. @throws Error naming what is wrong with one */
export function selectorsFrom(messages: readonly SelectorMessage[]): Selector[] {
  return messages.map(({ type, value }) => {
    const selector = { type, value };
    const problem = selectorProblem(selector);
    if (problem !== undefined) throw new Error(problem);
    return selector;
  });
}

/** Reads a selector filter. @throws Error */
export function selectorFilterFrom(message: SelectorMatch): SelectorFilter {
  return { selectors: selectorsFrom(message.selectors), match: matchBehaviorFrom(message.match) };
}

/** Sorts selectors and drops repetitions. */
export function normalizedSelectors(selectors: readonly Selector[]): Selector[] {
  const byKey = new Map(selectors.map((selector) => [selectorKey(selector), selector]));
  return [...byKey.values()].sort(compareSelectors);
}

export function selectorMessages(selectors: readonly Selector[]): SelectorMessage[] {
  return selectors.map(({ type, value }) => ({ type, value }));
}

/** The selectors as one log field. */
export function selectorsField(messages: readonly SelectorMessage[]): string {
  return messages.map(selectorKey).join(",");
}
