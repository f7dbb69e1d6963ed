import { eitherFlag, type Flag, type FlagValues, repeatedFlag, stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { checkDate } from "#cli/go-time.ts";
import type { ListAgentsRequest_Filter } from "#proto/spire/api/server/agent/v1/agent.ts";
import { matchNumber, selectorFilter } from "#server/commands/match-behavior.ts";
import { errorText } from "#spiffe/status-error.ts";

export interface FilterFlags extends Record<string, Flag<unknown>> {
  readonly selector: Flag<readonly string[]>;
  readonly attestationType: Flag<string>;
  readonly canReattest: Flag<boolean | undefined>;
  readonly banned: Flag<boolean | undefined>;
  readonly expiresBefore: Flag<string>;
  readonly matchSelectorsOn: Flag<string>;
}

/** The flags by which `agent list` and `agent count` choose agents. */
export const FILTER_FLAGS: FilterFlags = {
  selector: repeatedFlag("Only agents with this type:value selector. Can be given several times"),
  attestationType: stringFlag("Only agents that attested this way, for instance join_token"),
  canReattest: eitherFlag(
    "'true': only agents that can attest again, 'false': only those that cannot",
  ),
  banned: eitherFlag("'true': only banned agents, 'false': only those that are not"),
  expiresBefore: stringFlag(
    'Only agents whose SVID ends before this time (format: "2006-01-02 15:04:05 -0700 -07")',
  ),
  matchSelectorsOn: stringFlag(
    "How the selectors of an agent relate to those given: exact, any, superset or subset",
    "superset",
  ),
};

/** @throws Error naming the flag's value that cannot be used */
export function agentFilter(flags: FlagValues<FilterFlags>): ListAgentsRequest_Filter {
  const bySelectorMatch = selectorFilter(
    flags.selector,
    matchNumber(flags.matchSelectorsOn),
    "unsupported match behavior",
    (selector) => `error parsing selector ${goQuote(selector)}`,
  );
  if (flags.expiresBefore !== "") {
    try {
      checkDate(flags.expiresBefore);
    } catch (error) {
      throw new Error(`date is not valid: ${errorText(error)}`, { cause: error });
    }
  }
  return {
    bySelectorMatch,
    byAttestationType: flags.attestationType,
    byCanReattest: flags.canReattest,
    byBanned: flags.banned,
    byExpiresBefore: flags.expiresBefore,
  };
}
