/** The entries this agent may issue for: only what changed crosses the wire, from servers that can say what changed. */
import { isSameRevision, type WorkloadEntry, workloadEntry } from "#agent/cache/workload-entry.ts";
import { entriesDenied } from "#agent/own-svid/failure.ts";
import { type Conversation, callUnary, openBidi } from "#grpc/client.ts";
import type { Log } from "#log/log.ts";
import type {
  EntryClient,
  SyncAuthorizedEntriesRequest,
  SyncAuthorizedEntriesResponse,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import { type Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

const TIMEOUT_MS = 30_000;

/** So many entries are asked for at a time. */
const IDS_AT_ONCE = 2000;
/** More than any server has for one agent; the memory for their names is the agent's. */
const MAX_ENTRIES = 1_000_000;

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
    if (current.size + wanted.size > MAX_ENTRIES) {
      throw new StatusError(
        StatusCode.RESOURCE_EXHAUSTED,
        `the server names more than ${MAX_ENTRIES} entries`,
      );
    }
    if (!page.more) break;
  }
  const ids = [...wanted];
  for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
    const asked = ids.slice(from, from + IDS_AT_ONCE);
    for (const entry of await fetchNamed(conversation, asked, log)) current.set(entry.id, entry);
  }
  return current;
}

/** @throws StatusError also when the server has more to say than was asked for */
async function fetchNamed(
  conversation: SyncConversation,
  ids: readonly string[],
  log: Log,
): Promise<readonly WorkloadEntry[]> {
  conversation.send({ outputMask: undefined, ids: [...ids] });
  const entries: WorkloadEntry[] = [];
  for (let received = 0; ; ) {
    const page = await answer(conversation);
    received += page.entries.length;
    if (received > ids.length) {
      throw new StatusError(StatusCode.INTERNAL, "the server sent entries that nobody asked for");
    }
    entries.push(...workloadEntries(page.entries, log));
    if (!page.more) return entries;
    if (page.entries.length === 0) {
      throw new StatusError(StatusCode.INTERNAL, "the server sent a page without entries");
    }
  }
}

async function answer(conversation: SyncConversation): Promise<SyncAuthorizedEntriesResponse> {
  const message = await conversation.receive();
  if (message !== undefined) return message;
  throw new StatusError(StatusCode.UNAVAILABLE, "the server ended the synchronisation early");
}
