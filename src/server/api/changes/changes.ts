/** The Changes service: an agent hears of what concerns it as soon as it is committed, instead of asking every few seconds. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type Change,
  ChangesService,
  type WatchChangesRequest,
} from "#proto/spire_edge/changes/v1/changes.ts";
import { checkAgentStanding, type StandingParts } from "#server/api/agent/agent-standing.ts";
import { apiCall } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import type { Watchers } from "./changes-watchers.ts";

interface ChangesServiceParts extends StandingParts {
  readonly watchers: Watchers;
}

type Send = (change: Change) => Promise<void>;

export function createChangesService(
  parts: ChangesServiceParts,
  options: ServiceOptions,
): BoundService {
  return bindService(
    ChangesService,
    audited({
      watchChanges: (_request: WatchChangesRequest, context: CallContext, send: Send) =>
        watchChanges(parts, context, send),
    }),
    options,
  );
}

/** Returns when the watch is over, which is no error: the agent opens another one, and the guard looks at it anew. */
async function watchChanges(
  { watchers, ...standing }: ChangesServiceParts,
  context: CallContext,
  send: Send,
): Promise<void> {
  const { identity } = apiCall(context);
  if (identity.kind !== "spiffe") throw new Error("caller ID missing from request context");
  const { id, certificate } = identity;
  const { serialNumberDecimal: serialNumber, notAfter } = certificate;
  const watch = watchers.open({ id: id.toString(), serialNumber, notAfter }, send);
  context.signal.addEventListener("abort", () => watch.end(), { once: true });
  try {
    // The guard has asked the same, but of a ban that came after that the watch would not know.
    await checkAgentStanding(standing, id, certificate);
    if (context.signal.aborted) return;
    watch.start();
    await watch.ended;
  } finally {
    watch.end();
  }
}
