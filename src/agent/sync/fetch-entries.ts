/** The entries this agent may issue for: only what changed crosses the wire, from servers that can say what changed. */
import { isSameRevision, type WorkloadEntry, workloadEntry } from "#agent/cache/workload-entry.ts";
import { type Conversation, callUnary, openBidi } from "#grpc/client.ts";
import type {
  EntryClient,
  SyncAuthorizedEntriesRequest,
  SyncAuthorizedEntriesResponse,
} from "#grpc/gen/spire/api/server/entry/v1/entry.ts";
import { type Entry, EntryMask } from "#grpc/gen/spire/api/types/entry.ts";
import type { Log } from "#log/log.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { entriesDenied } from "./failure.ts";

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
  log: Log,
): Promise<ReadonlyMap<string, WorkloadEntry>> {
  try {
    return await syncEntries(client, known, log);
  } catch (error) {
    const isMissing = error instanceof StatusError && error.code === StatusCode.UNIMPLEMENTED;
    if (!isMissing) throw entriesDenied(error);
    const { entries } = await callUnary(
      client,
      "getAuthorizedEntries",
      { outputMask: MASK },
      { timeoutMs: TIMEOUT_MS },
    );
    return byId(entries, log);
  }
}

/** The entries as the agent keeps them; one that makes no sense is logged and left out. */
export function workloadEntries(entries: readonly Entry[], log: Log): WorkloadEntry[] {
  return entries.flatMap((entry) => {
    // Those are for stores of SVIDs, not for workloads that come and ask.
    if (entry.storeSvid) return [];
    try {
      return [workloadEntry(entry)];
    } catch (error) {
      log.warn("Received malformed entry", { entry_id: entry.id, error: errorText(error) });
      return [];
    }
  });
}

function byId(entries: readonly Entry[], log: Log): Map<string, WorkloadEntry> {
  return new Map(workloadEntries(entries, log).map((entry) => [entry.id, entry]));
}

type SyncConversation = Conversation<SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse>;

async function syncEntries(
  client: EntryClient,
  known: ReadonlyMap<string, WorkloadEntry>,
  log: Log,
): Promise<ReadonlyMap<string, WorkloadEntry>> {
  const conversation: SyncConversation = openBidi(
    (metadata, options) => client.syncAuthorizedEntries(metadata, options),
    { timeoutMs: TIMEOUT_MS },
  );
  try {
    conversation.send({ outputMask: MASK, ids: [] });
    const first = await answer(conversation);
    if (first.entryRevisions.length === 0) return byId(first.entries, log);
    return await fetchChanged(conversation, first, known, log);
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
  log: Log,
): Promise<ReadonlyMap<string, WorkloadEntry>> {
  const current = new Map<string, WorkloadEntry>();
  const wanted = new Set<string>();
  for (let page = first; ; page = await answer(conversation)) {
    for (const revision of page.entryRevisions) {
      const entry = known.get(revision.id);
      if (entry !== undefined && isSameRevision(entry, revision)) current.set(entry.id, entry);
      else wanted.add(revision.id);
    }
    if (!page.more) break;
  }
  if (wanted.size === 0) return current;
  conversation.send({ outputMask: undefined, ids: [...wanted] });
  for (;;) {
    const page = await answer(conversation);
    for (const [id, entry] of byId(page.entries, log)) current.set(id, entry);
    if (!page.more) return current;
  }
}

async function answer(conversation: SyncConversation): Promise<SyncAuthorizedEntriesResponse> {
  const message = await conversation.receive();
  if (message !== undefined) return message;
  throw new StatusError(StatusCode.UNAVAILABLE, "the server ended the synchronisation early");
}
