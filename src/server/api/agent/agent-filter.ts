import type { LogFields } from "#log/log.ts";
import type { CountAgentsRequest_Filter } from "#proto/spire/api/server/agent/v1/agent.ts";
import type { NodeFilter } from "#server/datastore/datastore.ts";
import { selectorFilterFrom, selectorsField } from "#server/message/convert-selector.ts";
import { invalidArgument } from "#server/message/failure.ts";

/**
 * Reads the filter that listing and counting agents share.
 *
 * @throws StatusError INVALID_ARGUMENT
 */
export function agentFilterFrom(message: CountAgentsRequest_Filter | undefined): NodeFilter {
  if (message === undefined) return {};
  const { byAttestationType, bySelectorMatch, byBanned, byCanReattest } = message;
  const expiresBefore = momentFrom(message.byExpiresBefore);
  return {
    ...(byAttestationType !== "" && { attestationType: byAttestationType }),
    ...(byBanned !== undefined && { banned: byBanned }),
    ...(byCanReattest !== undefined && { canReattest: byCanReattest }),
    ...(expiresBefore !== undefined && { expiresBefore }),
    ...(bySelectorMatch !== undefined && {
      selectors: selectorsIn(bySelectorMatch),
    }),
  };
}

/** The filter as fields of the audit log. */
export function agentFilterFields(message: CountAgentsRequest_Filter | undefined): LogFields {
  if (message === undefined) return {};
  const { byAttestationType, bySelectorMatch, byBanned, byCanReattest } = message;
  return {
    ...(byAttestationType !== "" && { node_attestor_type: byAttestationType }),
    ...(byBanned !== undefined && { by_banned: byBanned }),
    ...(byCanReattest !== undefined && { by_can_reattest: byCanReattest }),
    ...(bySelectorMatch !== undefined && {
      by_selectors: selectorsField(bySelectorMatch.selectors),
    }),
  };
}

function selectorsIn(
  message: NonNullable<CountAgentsRequest_Filter["bySelectorMatch"]>,
): NonNullable<NodeFilter["selectors"]> {
  try {
    return selectorFilterFrom(message);
  } catch (error) {
    throw invalidArgument("failed to parse selectors", error);
  }
}

/**
 * Reads `2006-01-02 15:04:05 -0700 -07`, the form in which clients send a moment. Anything else filters nothing, as in the
 * reference.
 *
 * @returns Unix seconds
 */
function momentFrom(text: string): number | undefined {
  const match = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}) ([+-]\d{2})(\d{2}) [+-]\d{2}$/.exec(text);
  if (match === null) return undefined;
  const [, date, time, hours, minutes] = match;
  const milliseconds = Date.parse(`${date}T${time}${hours}:${minutes}`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000;
}
