/** The entries this agent may issue for: only what changed crosses the wire, from servers that can say what changed. */
import { type Conversation, callUnary, openBidi } from "#grpc/client.ts";
import type {
  EntryClient,
  SyncAuthorizedEntriesRequest,
  SyncAuthorizedEntriesResponse,
} from "#grpc/gen/spire/api/server/entry/v1/entry.ts";
import { type Entry, EntryMask } from "#grpc/gen/spire/api/types/entry.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type WorkloadEntry, workloadEntry } from "./workload-entry.ts";

const TIMEOUT_MS = 30_000;

const MASK: EntryMask = EntryMask.fromPartial({
  spiffeId: true,
  parentId: true,
  selectors: true,
  x509SvidTtl: true,
  jwtSvidTtl: true,
  federatesWith: true,
  admin: true,
  downstream: true,
  expiresAt: true,
  dnsNames: true,
  revisionNumber: true,
  storeSvid: true,
  hint: true,
  createdAt: true,
  additionalAttributes: true,
});

/**
 * Fetches the authorised entries.
 *
 * @param known the entries of the last time, by ID; what did not change is taken from there
 * @throws StatusError
 */
export async function fetchEntries(
  client: EntryClient,
  known: ReadonlyMap<string, WorkloadEntry>,
): Promise<ReadonlyMap<string, WorkloadEntry>> {
  try {
    return await syncEntries(client, known);
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== StatusCode.UNIMPLEMENTED) throw error;
    const { entries } = await callUnary(
      client,
      "getAuthorizedEntries",
      { outputMask: MASK },
      { timeoutMs: TIMEOUT_MS },
    );
    return byId(entries);
  }
}

function byId(entries: readonly Entry[]): Map<string, WorkloadEntry> {
  return new Map(
    entries.filter((entry) => !entry.storeSvid).map((entry) => [entry.id, workloadEntry(entry)]),
  );
}

type SyncConversation = Conversation<SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse>;

async function syncEntries(
  client: EntryClient,
  known: ReadonlyMap<string, WorkloadEntry>,
): Promise<ReadonlyMap<string, WorkloadEntry>> {
  const conversation: SyncConversation = openBidi(
    (metadata, options) => client.syncAuthorizedEntries(metadata, options),
    { timeoutMs: TIMEOUT_MS },
  );
  try {
    conversation.send({ outputMask: MASK, ids: [] });
    const first = await answer(conversation);
    if (first.entryRevisions.length === 0) return byId(first.entries);
    return await fetchChanged(conversation, first, known);
  } finally {
    conversation.finish();
    conversation.cancel();
  }
}

/** The server has many entries, so it told their revisions first: ask for those that are new. */
async function fetchChanged(
  conversation: SyncConversation,
  first: SyncAuthorizedEntriesResponse,
  known: ReadonlyMap<string, WorkloadEntry>,
): Promise<ReadonlyMap<string, WorkloadEntry>> {
  const current = new Map<string, WorkloadEntry>();
  const wanted = new Set<string>();
  for (let page = first; ; page = await answer(conversation)) {
    for (const { id, revisionNumber, createdAt } of page.entryRevisions) {
      const entry = known.get(id);
      // An entry that was deleted and made again starts its revisions anew, but not its creation time.
      if (entry?.revisionNumber === revisionNumber && entry.createdAt === createdAt)
        current.set(id, entry);
      else wanted.add(id);
    }
    if (!page.more) break;
  }
  if (wanted.size === 0) return current;
  conversation.send({ outputMask: undefined, ids: [...wanted] });
  for (;;) {
    const page = await answer(conversation);
    for (const [id, entry] of byId(page.entries)) current.set(id, entry);
    if (!page.more) return current;
  }
}

async function answer(conversation: SyncConversation): Promise<SyncAuthorizedEntriesResponse> {
  const message = await conversation.receive();
  if (message !== undefined) return message;
  throw new StatusError(StatusCode.UNAVAILABLE, "the server ended the synchronisation early");
}
