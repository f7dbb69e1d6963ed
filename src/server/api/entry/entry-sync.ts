/** How agents fetch the entries they may issue for: all at once, or only what changed. */
import type { CallContext } from "#grpc/bind.ts";
import { Encoded } from "#grpc/encoded.ts";
import {
  type GetAuthorizedEntriesRequest,
  GetAuthorizedEntriesResponse,
  type SyncAuthorizedEntriesRequest,
  SyncAuthorizedEntriesResponse,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import type { EntryMask } from "#proto/spire/api/types/entry.ts";
import { apiCall, callerId } from "#server/api/call/api-call.ts";
import { entryMessage } from "#server/message/convert-entry.ts";
import { invalidArgument } from "#server/message/failure.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { EncodedEntries } from "./encoded-entries.ts";

/** Entries in one message; with this many and fewer there is nothing to be gained by sending revisions first. */
const PAGE_SIZE = 500;

type Send = (response: Encoded) => Promise<void>;

/** Where the entries come from that an agent may issue for. */
export interface AuthorizedEntriesSource {
  /** @param agentId the agent's SPIFFE ID */
  authorizedEntries(agentId: string): readonly RegistrationEntry[];
  /** One of them, without a look at the others. */
  authorizedEntry(agentId: string, entryId: string): RegistrationEntry | undefined;
}

export async function getAuthorizedEntries(
  source: AuthorizedEntriesSource,
  { outputMask }: GetAuthorizedEntriesRequest,
  context: CallContext,
): Promise<Encoded> {
  const entries = source.authorizedEntries(callerId(apiCall(context)).toString());
  return Encoded.join(ALL_AT_ONCE.of(entries, outputMask));
}

const ALL_AT_ONCE = new EncodedEntries((entry, mask) =>
  GetAuthorizedEntriesResponse.encode({ entries: [entryMessage(entry, mask)] }).finish(),
);
const IN_PAGES = new EncodedEntries((entry, mask) =>
  encoded({ entries: [entryMessage(entry, mask)] }),
);
const REVISIONS = new EncodedEntries(({ id, revisionNumber, createdAt }) =>
  encoded({ entryRevisions: [{ id, revisionNumber, createdAt }] }),
);
const MORE = encoded({ more: true });

/** A part of an answer. */
function encoded(part: Partial<SyncAuthorizedEntriesResponse>): Uint8Array {
  const message = { entryRevisions: [], entries: [], more: false, ...part };
  return SyncAuthorizedEntriesResponse.encode(message).finish();
}

/**
 * One synchronisation. Up to a page of entries is sent whole. Of more, first only their revisions are sent; the agent
 * then asks for the entries whose revision it does not have.
 */
export async function syncAuthorizedEntries(
  source: AuthorizedEntriesSource,
  requests: AsyncIterable<SyncAuthorizedEntriesRequest>,
  context: CallContext,
  send: Send,
): Promise<void> {
  const entries = source.authorizedEntries(callerId(apiCall(context)).toString());
  const stream = requests[Symbol.asyncIterator]();
  const first = await stream.next();
  if (first.done) return;
  const outputMask = checkedOutputMask(first.value);
  if (entries.length <= PAGE_SIZE) {
    await sendPaged(IN_PAGES.of(entries, outputMask), send);
    return;
  }
  await sendPaged(REVISIONS.of(entries, undefined), send);
  let byId: ReadonlyMap<string, RegistrationEntry> | undefined;
  for (let next = await stream.next(); !next.done; next = await stream.next()) {
    byId ??= new Map(entries.map((entry) => [entry.id, entry]));
    await sendRequested(byId, next.value.ids, outputMask, send);
  }
}

/** The mask of the first request holds for the whole stream. */
function checkedOutputMask({
  ids,
  outputMask,
}: SyncAuthorizedEntriesRequest): EntryMask | undefined {
  if (ids.length > 0) throw invalidArgument("specifying IDs on initial request is not supported");
  // Without revision numbers the agent could not tell which entries changed.
  if (outputMask !== undefined && !outputMask.revisionNumber) {
    throw invalidArgument("revision number cannot be masked");
  }
  return outputMask;
}

/** Sends the entries asked for, by ID. What is unknown or not the agent's is left out without a word. */
async function sendRequested(
  byId: ReadonlyMap<string, RegistrationEntry>,
  ids: readonly string[],
  outputMask: EntryMask | undefined,
  send: Send,
): Promise<void> {
  const found = [...new Set(ids)]
    .sort()
    .map((id) => byId.get(id))
    .filter((entry) => entry !== undefined);
  await sendPaged(IN_PAGES.of(found, outputMask), send);
}

/** One message at least, also when it is empty. */
async function sendPaged(parts: readonly Uint8Array[], send: Send): Promise<void> {
  let start = 0;
  for (; parts.length - start > PAGE_SIZE; start += PAGE_SIZE) {
    await send(Encoded.join([...parts.slice(start, start + PAGE_SIZE), MORE]));
  }
  await send(Encoded.join(parts.slice(start)));
}
