import { type Selector, selectorKey } from "#spiffe/selector.ts";

/**
 * Whether a workload that one entry is for is surely one that the other is for as well: where both have the same parent and hint, it gets but
 * one of the two identities.
 */
export function isForTheSame(a: readonly Selector[], b: readonly Selector[]): boolean {
  const [of, other] = [new Set(a.map(selectorKey)), new Set(b.map(selectorKey))];
  return of.isSubsetOf(other) || other.isSubsetOf(of);
}
