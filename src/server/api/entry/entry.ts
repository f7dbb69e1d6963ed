/** The Entry service: operators keep registration entries, agents fetch the ones they may issue for. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import type { Encoded } from "#grpc/encoded.ts";
import {
  type BatchCreateEntryRequest,
  type BatchDeleteEntryRequest,
  type BatchUpdateEntryRequest,
  type CountEntriesRequest,
  type CountEntriesResponse,
  EntryService,
  type GetAuthorizedEntriesRequest,
  type GetEntryRequest,
  type ListEntriesRequest,
  type ListEntriesResponse,
  type SyncAuthorizedEntriesRequest,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import { type ApiCall, apiCall, attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import { entryMessage } from "#server/message/convert-entry.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { entryFilterFields, entryFilterFrom } from "./entry-filter.ts";
import {
  type AuthorizedEntriesSource,
  getAuthorizedEntries,
  syncAuthorizedEntries,
} from "./entry-sync.ts";
import {
  batchCreateEntry,
  batchDeleteEntry,
  batchUpdateEntry,
  type EntryWriteParts,
} from "./entry-writes.ts";

export interface EntryServiceParts extends EntryWriteParts {
  readonly authorized: AuthorizedEntriesSource;
}

export function createEntryService(
  parts: EntryServiceParts,
  options: ServiceOptions,
): BoundService {
  return bindService(
    EntryService,
    audited({
      countEntries: (request: CountEntriesRequest, context: CallContext) =>
        countEntries(parts, request, apiCall(context)),
      listEntries: (request: ListEntriesRequest, context: CallContext) =>
        listEntries(parts, request, apiCall(context)),
      getEntry: (request: GetEntryRequest, context: CallContext) =>
        getEntry(parts, request, apiCall(context)),
      batchCreateEntry: (request: BatchCreateEntryRequest, context: CallContext) =>
        batchCreateEntry(parts, request, apiCall(context)),
      batchUpdateEntry: (request: BatchUpdateEntryRequest, context: CallContext) =>
        batchUpdateEntry(parts, request, apiCall(context)),
      batchDeleteEntry: (request: BatchDeleteEntryRequest, context: CallContext) =>
        batchDeleteEntry(parts, request, apiCall(context)),
      getAuthorizedEntries: (request: GetAuthorizedEntriesRequest, context: CallContext) =>
        getAuthorizedEntries(parts.authorized, request, context),
      syncAuthorizedEntries: (
        requests: AsyncIterable<SyncAuthorizedEntriesRequest>,
        context: CallContext,
        send: (response: Encoded) => Promise<void>,
      ) => syncAuthorizedEntries(parts.authorized, requests, context, send),
    }),
    options,
  );
}

async function countEntries(
  { trustDomain, entries }: EntryWriteParts,
  { filter }: CountEntriesRequest,
  { audit }: ApiCall,
): Promise<CountEntriesResponse> {
  audit.add(entryFilterFields(filter));
  const entryFilter = entryFilterFrom(trustDomain, filter);
  const count = await attempt(
    "failed to count entries",
    () => entries.count(entryFilter),
    StatusCode.INTERNAL,
  );
  return { count };
}

async function listEntries(
  { trustDomain, entries }: EntryWriteParts,
  { filter, pageSize, pageToken, outputMask }: ListEntriesRequest,
  { audit }: ApiCall,
): Promise<ListEntriesResponse> {
  audit.add(entryFilterFields(filter));
  const entryFilter = entryFilterFrom(trustDomain, filter);
  const page = pageSize > 0 ? { size: pageSize, token: pageToken } : { size: 0, token: "" };
  const listing = await attempt(
    "failed to list entries",
    () => entries.list(entryFilter, page),
    StatusCode.INTERNAL,
  );
  return {
    entries: listing.items.map((entry) => entryMessage(entry, outputMask)),
    nextPageToken: listing.nextToken,
  };
}

async function getEntry(
  { entries }: EntryWriteParts,
  { id, outputMask }: GetEntryRequest,
  { audit }: ApiCall,
): Promise<Entry> {
  if (id === "") throw invalidArgument("missing ID");
  audit.add({ entry_id: id });
  const entry = await attempt("failed to fetch entry", () => entries.find(id), StatusCode.INTERNAL);
  if (entry === undefined) throw new StatusError(StatusCode.NOT_FOUND, "entry not found");
  return entryMessage(entry, outputMask);
}
