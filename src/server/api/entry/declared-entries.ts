/**
 * The DeclaredEntries service: an operator hands in a whole set of entries, and the server makes its own what is declared. What that
 * means is the business of `declared/`; here is how it comes and goes.
 */
import type { Clock } from "#clock/clock.ts";
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type Change,
  DeclaredEntriesService,
  type DeclaredEntry,
  type FindSetsRequest,
  type FindSetsResponse,
  type Options,
  type ReconcileEntriesRequest,
  type ReconcileEntriesResponse,
} from "#proto/spire_edge/declared/v1/declared.ts";
import { type ApiCall, apiCall, attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import { nextMessageOf } from "#server/api/call/next-message.ts";
import type { DeclaredEntries } from "#server/datastore/datastore.ts";
import { auditFields, summaryFields } from "#server/declared/audit-fields.ts";
import { changeMessage, summaryMessage } from "#server/declared/change-message.ts";
import { inTurns } from "#server/declared/in-turns.ts";
import { MAX_ENTRIES } from "#server/declared/read-directory.ts";
import type { Declaration, Plan, Reconciler } from "#server/declared/reconcile.ts";
import { invalidArgument, okStatus } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface DeclaredEntriesParts {
  readonly reconciler: Reconciler;
  readonly store: { readonly declaredEntries: Pick<DeclaredEntries, "sets"> };
  readonly clock: Clock;
}

/** So many at a time, each with up to a hundred thousand entries in memory. */
const MAX_CALLS = 2;
/** Of one call, each with four megabytes at most; the command needs half as many for the most that a directory may hold. */
const MAX_MESSAGES = 256;
/** Changes in one message. */
const PAGE_SIZE = 200;
/** Entries whose sets are asked for at once. */
const MAX_IDS = 10_000;
const SET_NAME = /^[A-Za-z0-9._-]{1,64}$/;

type Send = (response: ReconcileEntriesResponse) => Promise<void>;

export function createDeclaredEntriesService(
  parts: DeclaredEntriesParts,
  options: ServiceOptions,
): BoundService {
  let calls = 0;
  const reconcileEntries = async (
    requests: AsyncIterable<ReconcileEntriesRequest>,
    context: CallContext,
    send: Send,
  ): Promise<void> => {
    if (calls >= MAX_CALLS) {
      throw new StatusError(StatusCode.RESOURCE_EXHAUSTED, "others declare entries at this moment");
    }
    calls++;
    try {
      await reconcile(parts, requests, apiCall(context), send);
    } finally {
      calls--;
    }
  };
  return bindService(
    DeclaredEntriesService,
    audited({ reconcileEntries, findSets: (request: FindSetsRequest) => findSets(parts, request) }),
    options,
  );
}

async function findSets(
  { store }: DeclaredEntriesParts,
  { entryIds }: FindSetsRequest,
): Promise<FindSetsResponse> {
  if (entryIds.length > MAX_IDS) throw invalidArgument(`more than ${MAX_IDS} entries are named`);
  const sets = await attempt("failed to fetch sets", () => store.declaredEntries.sets());
  return { sets: entryIds.map((id) => sets.get(id) ?? "") };
}

async function reconcile(
  { reconciler, clock }: DeclaredEntriesParts,
  requests: AsyncIterable<ReconcileEntriesRequest>,
  call: ApiCall,
  send: Send,
): Promise<void> {
  const { options, declared } = await receive(requests, clock);
  const { set, dryRun, adopt, allowRemoval } = options;
  call.audit.add({ declared_set: set, dry_run: dryRun });
  const declaration = { set, declared, adopt, allowRemoval };
  const changes: Change[] = [];
  const plan = dryRun
    ? await reconciler.plan(declaration)
    : await apply(reconciler, declaration, call, changes);
  if (dryRun) await inTurns(plan.changes, (change) => changes.push(changeMessage(change, "")));
  for (let start = 0; start < changes.length; start += PAGE_SIZE) {
    await send({ changes: changes.slice(start, start + PAGE_SIZE), summary: undefined });
  }
  await send({ changes: [], summary: summaryMessage(plan, dryRun) });
}

async function apply(
  reconciler: Reconciler,
  declaration: Declaration,
  { audit, log }: ApiCall,
  changes: Change[],
): Promise<Plan> {
  const { set } = declaration;
  const plan = await reconciler.apply(declaration, (made) => {
    for (const { change, entryId } of made) {
      const message = changeMessage(change, entryId);
      changes.push(message);
      audit.item(okStatus(), () => auditFields(set, change.kind, message));
    }
  });
  log.info("Declared entries applied", summaryFields(set, plan));
  return plan;
}

interface Received {
  readonly options: Options;
  readonly declared: readonly DeclaredEntry[];
}

/** The whole declaration. @throws StatusError for what is none, for too much, and when the caller stops short of its end */
async function receive(
  requests: AsyncIterable<ReconcileEntriesRequest>,
  clock: Clock,
): Promise<Received> {
  const next = nextMessageOf(requests, clock);
  const first = await next();
  const options = first?.options;
  if (options === undefined) throw invalidArgument("the first message must have options");
  if (!SET_NAME.test(options.set)) {
    throw invalidArgument(
      "the name of a set has 1 to 64 letters, digits, dots, dashes and underscores",
    );
  }
  const declared: DeclaredEntry[] = [];
  let messages = 0;
  for (let message = first; message !== undefined; message = await next()) {
    if (++messages > MAX_MESSAGES) {
      throw new StatusError(
        StatusCode.RESOURCE_EXHAUSTED,
        `a set is declared in ${MAX_MESSAGES} messages at most`,
      );
    }
    if (message !== first && message.options !== undefined) {
      throw invalidArgument("options belong into the first message alone");
    }
    if (declared.length + message.entries.length > MAX_ENTRIES) {
      throw new StatusError(
        StatusCode.RESOURCE_EXHAUSTED,
        `more than ${MAX_ENTRIES} entries are declared`,
      );
    }
    for (const one of message.entries) declared.push(one);
  }
  return { options, declared };
}
