/** How agents fetch the entries they may issue for: all at once, or only what changed. */
import type { CallContext } from "#grpc/bind.ts";
import type {
  GetAuthorizedEntriesRequest,
  GetAuthorizedEntriesResponse,
  SyncAuthorizedEntriesRequest,
  SyncAuthorizedEntriesResponse,
} from "#grpc/gen/spire/api/server/entry/v1/entry.ts";
import type { EntryMask } from "#grpc/gen/spire/api/types/entry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { apiCall, callerId } from "./api-call.ts";
import { entryMessage } from "./convert-entry.ts";
import { invalidArgument } from "./failure.ts";

/** Entries in one message; with this many and fewer there is nothing to be gained by sending revisions first. */
const PAGE_SIZE = 500;

type Send = (response: SyncAuthorizedEntriesResponse) => Promise<void>;

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
): Promise<GetAuthorizedEntriesResponse> {
  const entries = source.authorizedEntries(callerId(apiCall(context)).toString());
  return { entries: entries.map((entry) => entryMessage(entry, outputMask)) };
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
    await send(response({ entries: entries.map((entry) => entryMessage(entry, outputMask)) }));
    return;
  }
  await sendRevisions(entries, send);
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  for (let next = await stream.next(); !next.done; next = await stream.next()) {
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

async function sendRevisions(entries: readonly RegistrationEntry[], send: Send): Promise<void> {
  for (let start = 0; start < entries.length; start += PAGE_SIZE) {
    const page = entries.slice(start, start + PAGE_SIZE);
    await send(
      response({
        entryRevisions: page.map(({ id, revisionNumber, createdAt }) => ({
          id,
          revisionNumber,
          createdAt,
        })),
        more: start + PAGE_SIZE < entries.length,
      }),
    );
  }
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
    .filter((entry) => entry !== undefined)
    .map((entry) => entryMessage(entry, outputMask));
  let start = 0;
  for (; found.length - start > PAGE_SIZE; start += PAGE_SIZE) {
    await send(response({ entries: found.slice(start, start + PAGE_SIZE), more: true }));
  }
  await send(response({ entries: found.slice(start) }));
}

function response(part: Partial<SyncAuthorizedEntriesResponse>): SyncAuthorizedEntriesResponse {
  return { entryRevisions: [], entries: [], more: false, ...part };
}
