import { type Flag, type FlagValues, repeatedFlag, stringFlag, switchFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { explained } from "#cli/rpc-error.ts";
import type { ListEntriesRequest_Filter } from "#proto/spire/api/server/entry/v1/entry.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { matchNumber, selectorFilter } from "#server/commands/match-behavior.ts";

export interface FilterFlags extends Record<string, Flag<unknown>> {
  readonly parentID: Flag<string>;
  readonly spiffeID: Flag<string>;
  readonly downstream: Flag<boolean>;
  readonly selector: Flag<readonly string[]>;
  readonly federatesWith: Flag<readonly string[]>;
  readonly matchSelectorsOn: Flag<string>;
  readonly matchFederatesWithOn: Flag<string>;
  readonly hint: Flag<string>;
}

/** The flags by which `entry show` and `entry count` choose entries. */
export const FILTER_FLAGS: FilterFlags = {
  parentID: stringFlag("Only entries with this parent ID"),
  spiffeID: stringFlag("Only entries with this SPIFFE ID"),
  downstream: switchFlag("Only entries for SPIRE servers below this one"),
  selector: repeatedFlag("Only entries with this type:value selector. Can be given several times"),
  federatesWith: repeatedFlag(
    "Only entries that federate with this trust domain. Can be given several times",
  ),
  matchSelectorsOn: stringFlag(
    "How the selectors of an entry relate to those given: exact, any, superset or subset",
    "superset",
  ),
  matchFederatesWithOn: stringFlag(
    "How the trust domains of an entry relate to those given: exact, any, superset or subset",
    "superset",
  ),
  hint: stringFlag("Only entries with this hint"),
};

/** @throws Error naming the flag's value that cannot be used */
export async function entryFilter(
  flags: FlagValues<FilterFlags>,
): Promise<ListEntriesRequest_Filter> {
  const byParentId =
    flags.parentID === ""
      ? undefined
      : await explained(`error parsing parent ID ${goQuote(flags.parentID)}`, () =>
          idMessage(flags.parentID),
        );
  const bySpiffeId =
    flags.spiffeID === ""
      ? undefined
      : await explained(`error parsing SPIFFE ID ${goQuote(flags.spiffeID)}`, () =>
          idMessage(flags.spiffeID),
        );
  const bySelectors = selectorFilter(
    flags.selector,
    matchNumber(flags.matchSelectorsOn),
    unknownMatch(flags.matchSelectorsOn),
    () => "error parsing selectors",
  );
  return {
    byParentId,
    bySpiffeId,
    bySelectors,
    byFederatesWith: federatesWithFilter(flags),
    byHint: flags.hint === "" ? undefined : flags.hint,
    byDownstream: flags.downstream,
  };
}

function federatesWithFilter(
  flags: FlagValues<FilterFlags>,
): ListEntriesRequest_Filter["byFederatesWith"] {
  if (flags.federatesWith.length === 0) return undefined;
  const match = matchNumber(flags.matchFederatesWithOn);
  if (match === undefined) throw new Error(unknownMatch(flags.matchFederatesWithOn));
  return { trustDomains: [...flags.federatesWith], match };
}

function unknownMatch(word: string): string {
  return `match behavior ${goQuote(word)} unknown`;
}
