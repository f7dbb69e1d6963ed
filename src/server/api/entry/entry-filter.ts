import type { LogFields } from "#log/log.ts";
import type { CountEntriesRequest_Filter } from "#proto/spire/api/server/entry/v1/entry.ts";
import type { FederatesWithMatch } from "#proto/spire/api/types/federateswith.ts";
import type { SelectorMatch } from "#proto/spire/api/types/selector.ts";
import type { EntryFilter } from "#server/datastore/datastore.ts";
import { memberIdFrom, workloadIdFrom } from "#server/message/convert-id.ts";
import {
  matchBehaviorFrom,
  selectorFilterFrom,
  selectorsField,
} from "#server/message/convert-selector.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/**
 * Reads the filter that listing and counting entries share.
 *
 * @throws StatusError INVALID_ARGUMENT
 */
export function entryFilterFrom(
  trustDomain: TrustDomain,
  message: CountEntriesRequest_Filter | undefined,
): EntryFilter {
  if (message === undefined) return {};
  const { byHint, byParentId, bySpiffeId, bySelectors, byFederatesWith, byDownstream } = message;
  return {
    ...(byHint !== undefined && byHint !== "" && { hint: byHint }),
    ...(byParentId !== undefined && {
      parentId: reading("malformed parent ID filter", () =>
        memberIdFrom(trustDomain, byParentId).toString(),
      ),
    }),
    ...(bySpiffeId !== undefined && {
      spiffeId: reading("malformed SPIFFE ID filter", () =>
        workloadIdFrom(trustDomain, bySpiffeId).toString(),
      ),
    }),
    ...(bySelectors !== undefined && {
      selectors: reading("malformed selectors filter", () => selectorsIn(bySelectors)),
    }),
    ...(byFederatesWith !== undefined && {
      federatesWith: reading("malformed federates with filter", () =>
        federatesWithIn(byFederatesWith),
      ),
    }),
    ...(byDownstream !== undefined && { downstream: byDownstream }),
  };
}

/** The filter as fields of the audit log. */
export function entryFilterFields(message: CountEntriesRequest_Filter | undefined): LogFields {
  return {
    ...(message?.byHint !== undefined && { hint: message.byHint }),
    ...(message?.byParentId !== undefined && { parent_id: idField(message.byParentId) }),
    ...(message?.bySpiffeId !== undefined && { spiffe_id: idField(message.bySpiffeId) }),
    ...(message?.bySelectors !== undefined && {
      by_selectors: selectorsField(message.bySelectors.selectors),
    }),
    ...(message?.byFederatesWith !== undefined && {
      federates_with: message.byFederatesWith.trustDomains.join(","),
    }),
    ...(message?.byDownstream !== undefined && { downstream: message.byDownstream }),
  };
}

function idField(id: { readonly trustDomain: string; readonly path: string }): string {
  return `spiffe://${id.trustDomain}${id.path}`;
}

function selectorsIn(message: SelectorMatch): NonNullable<EntryFilter["selectors"]> {
  if (message.selectors.length === 0) throw new Error("empty selector set");
  return selectorFilterFrom(message);
}

function federatesWithIn(message: FederatesWithMatch): NonNullable<EntryFilter["federatesWith"]> {
  const trustDomains = message.trustDomains.map((name) => TrustDomain.parse(name).name);
  if (trustDomains.length === 0) throw new Error("empty trust domain set");
  return { trustDomains, match: matchBehaviorFrom(message.match) };
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalidArgument(what, error);
  }
}
