import { setImmediate } from "node:timers/promises";
import type { CallContext } from "#grpc/bind.ts";
import { sourceOf } from "#grpc/remote-source.ts";
import type { Log, LogFields } from "#log/log.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import {
  asStatusError,
  codeOf,
  failure,
  logFailure,
  okStatus,
  statusOf,
} from "#server/message/failure.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { StatusCode } from "#spiffe/status-error.ts";
import type { AuditTrail } from "./audit-trail.ts";
import type { CallerRole } from "./authorization.ts";
import type { CallerIdentity } from "./caller-identity.ts";
import type { RateLimit } from "./rate-limit.ts";

/** What the guard found out about a call; the handlers go by it. */
export interface ApiCall {
  readonly identity: CallerIdentity;
  readonly admittedAs: CallerRole;
  readonly audit: AuditTrail;
  /** Carries the method, the caller and an ID of the request. */
  readonly log: Log;
  /** The same for what fails: a caller that fails in a loop has its share of lines. */
  readonly failures: Log;
  /** The entries that make the caller a downstream server; empty when it was let in as something else. */
  readonly downstreamEntries: readonly RegistrationEntry[];
  /** For a call that had to wait: whether the guard would still let it in. @throws StatusError if not */
  readonly checkAgain: () => Promise<void>;
}

const KEY = Symbol("api-call");

/** Attaches what the guard found out to the call. */
export function attachApiCall(context: CallContext, call: ApiCall): void {
  context.values.set(KEY, call);
}

/** What the guard found out. @throws Error when no guard ran: such a call must not be served */
export function apiCall(context: CallContext): ApiCall {
  const call = context.values.get(KEY);
  if (call === undefined) throw new Error(`no guard ran for ${context.method}`);
  return call as ApiCall;
}

/** The SPIFFE ID of the caller, for methods that only agents or downstream servers call. */
export function callerId(call: ApiCall): SpiffeId {
  if (call.identity.kind !== "spiffe") throw new Error("caller ID missing from request context");
  return call.identity.id;
}

/**
 * Waits until the rate limit lets the caller on. Local callers have no limit. Whoever is banned while he waits is not served.
 *
 * @param limit undefined when it is switched off
 * @param refusal what the caller reads when it is turned away
 * @throws StatusError
 */
export async function waitForTurn(
  limit: RateLimit | undefined,
  context: CallContext,
  count: number,
  refusal: string,
): Promise<void> {
  const { identity, checkAgain } = apiCall(context);
  if (limit === undefined || identity.kind === "local") return;
  let waited: boolean;
  try {
    waited = await limit.take(sourceOf(identity.address), count, context.signal);
  } catch (error) {
    throw failure(codeOf(error), refusal, error);
  }
  if (waited) await checkAgain();
}

/**
 * Runs the part of an RPC that may fail for reasons of its own, and puts the RPC's words before the error.
 *
 * @param code what the caller gets whatever the cause was; by default the cause's own code
 */
export async function attempt<T>(
  message: string,
  run: () => Promise<T>,
  code?: StatusCode,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw failure(code ?? codeOf(error), message, error);
  }
}

/** More than there are threads that sign, so that none waits; few enough that what comes back from them at once takes little time. */
const ITEMS_AT_ONCE = 32;

/**
 * Works on the items of a batch side by side, a few at a time, and lets other calls run in between, as callers choose how many items there
 * are: a thousand at once would all be ready at the same time, and be made into answers in one turn of the event loop.
 *
 * @returns the results in the order of the items
 */
export async function eachItem<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const rest = items.entries();
  let turn: Promise<void> | undefined;
  const worker = async (): Promise<void> => {
    for (const [index, item] of rest) {
      // Items that fail at once wait for nothing, and would let nobody else run.
      if (index % ITEMS_AT_ONCE === 0) turn = setImmediate();
      await turn;
      results[index] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: ITEMS_AT_ONCE }, worker));
  return results;
}

/**
 * Runs one item of a batch: an error becomes the status of that item and leaves the others alone.
 *
 * @param failed the result of an item that failed
 * @param describe the fields of the item's line in the audit log
 */
export async function batchItem<Result extends { readonly status: Status | undefined }>(
  call: ApiCall,
  run: () => Promise<Result>,
  failed: (status: Status) => Result,
  describe: (result: Result) => LogFields,
): Promise<Result> {
  const result = await run().catch((thrown: unknown) => {
    const error = asStatusError(thrown);
    logFailure(call.failures, error);
    return failed(statusOf(error));
  });
  call.audit.item(result.status ?? okStatus(), () => describe(result));
  return result;
}
