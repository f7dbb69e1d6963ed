import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type {
  BatchCreateEntryRequest,
  BatchCreateEntryResponse,
  BatchCreateEntryResponse_Result,
  BatchDeleteEntryRequest,
  BatchDeleteEntryResponse,
  BatchDeleteEntryResponse_Result,
  BatchUpdateEntryRequest,
  BatchUpdateEntryResponse,
  BatchUpdateEntryResponse_Result,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import type { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import { type ApiCall, batchItem } from "#server/api/call/api-call.ts";
import type { CreateEntryResult, Entries } from "#server/datastore/datastore.ts";
import { isForTheSame } from "#server/entries/shared-hint.ts";
import { entryChangeFrom, entryFieldsFrom, entryMessage } from "#server/message/convert-entry.ts";
import { entryAuditFields } from "#server/message/entry-audit.ts";
import { entryProblem } from "#server/message/entry-rules.ts";
import { codeOf, failure, invalidArgument, okStatus } from "#server/message/failure.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

export interface EntryWriteParts {
  readonly trustDomain: TrustDomain;
  readonly entries: Entries;
  readonly clock: Clock;
  readonly random: Random;
}

/** All good entries of a request go to the store in one transaction; each still succeeds or fails by itself. */
export async function batchCreateEntry(
  parts: EntryWriteParts,
  { entries, outputMask }: BatchCreateEntryRequest,
  call: ApiCall,
): Promise<BatchCreateEntryResponse> {
  const outcomes = await createEntries(parts, entries);
  await warnOfSharedHints(parts, outcomes, call);
  const results = outcomes.map((outcome, index) =>
    batchItem<BatchCreateEntryResponse_Result>(
      call,
      async () => creationResult(outcome, outputMask),
      (status) => ({ status, entry: undefined }),
      () => entryAuditFields(entries[index], undefined),
    ),
  );
  return { results: await Promise.all(results) };
}

/** The outcome of each message, in their order. */
async function createEntries(
  parts: EntryWriteParts,
  messages: readonly Entry[],
): Promise<(CreateEntryResult | Error)[]> {
  const read = messages.map((message) => readNewEntry(parts, message));
  const good = read.filter((entry): entry is RegistrationEntry => !(entry instanceof Error));
  const stored = (good.length === 0 ? [] : await parts.entries.create(good)).values();
  return read.map((entry) => {
    if (entry instanceof Error) return entry;
    const outcome = stored.next().value ?? new Error("the store gave no result for an entry");
    return outcome instanceof Error
      ? failure(codeOf(outcome), "failed to create entry", outcome)
      : outcome;
  });
}

/** Of one request: an operator reads no more of them. */
const MAX_SHARED_HINTS = 16;

/** Says in the log which new entries will not reach a workload that has an older entry with the same hint. */
async function warnOfSharedHints(
  { entries }: EntryWriteParts,
  outcomes: readonly (CreateEntryResult | Error)[],
  { log }: ApiCall,
): Promise<void> {
  const hinted = outcomes.flatMap((outcome) =>
    !(outcome instanceof Error) && outcome.created && outcome.entry.hint !== ""
      ? [outcome.entry]
      : [],
  );
  for (const { id, parentId, hint, selectors } of hinted.slice(0, MAX_SHARED_HINTS)) {
    const filter = { hint, parentId: parentId.toString() };
    const found = await entries.list(filter, { size: MAX_SHARED_HINTS, token: "" });
    const other = found.items.find(
      (one) => one.id !== id && isForTheSame(one.selectors, selectors),
    );
    if (other === undefined) continue;
    log.warn(
      "Two entries for the same workload have one hint; the workload gets the older one alone",
      {
        hint,
        registration_id: id,
        other_registration_id: other.id,
        spiffe_id: other.spiffeId.toString(),
      },
    );
  }
}

function readNewEntry(
  { trustDomain, clock, random }: EntryWriteParts,
  message: Entry,
): RegistrationEntry | StatusError {
  try {
    const entry: RegistrationEntry = {
      ...entryFieldsFrom(trustDomain, message),
      id: message.id === "" ? random.uuid() : message.id,
      createdAt: clock.nowSeconds(),
      revisionNumber: 0,
    };
    const problem = entryProblem(entry);
    return problem === undefined
      ? entry
      : invalidArgument(`failed to create entry: datastore-validation: ${problem}`);
  } catch (error) {
    return invalidArgument("failed to convert entry", error);
  }
}

function creationResult(
  outcome: CreateEntryResult | Error,
  outputMask: EntryMask | undefined,
): BatchCreateEntryResponse_Result {
  if (outcome instanceof Error) throw outcome;
  return {
    status: outcome.created
      ? okStatus()
      : { code: StatusCode.ALREADY_EXISTS, message: "similar entry already exists" },
    entry: entryMessage(outcome.entry, outputMask),
  };
}

export async function batchUpdateEntry(
  parts: EntryWriteParts,
  { entries, inputMask, outputMask }: BatchUpdateEntryRequest,
  call: ApiCall,
): Promise<BatchUpdateEntryResponse> {
  const results: BatchUpdateEntryResponse_Result[] = [];
  for (const message of entries) {
    const update = async (): Promise<BatchUpdateEntryResponse_Result> => ({
      status: okStatus(),
      entry: entryMessage(await updateEntry(parts, message, inputMask), outputMask),
    });
    results.push(
      await batchItem(
        call,
        update,
        (status) => ({ status, entry: undefined }),
        () => entryAuditFields(message, inputMask),
      ),
    );
  }
  return { results };
}

async function updateEntry(
  { trustDomain, entries }: EntryWriteParts,
  message: Entry,
  inputMask: EntryMask | undefined,
): Promise<RegistrationEntry> {
  const change = readChange(trustDomain, message, inputMask);
  try {
    const stored = await entries.find(message.id);
    if (stored === undefined) throw new StatusError(StatusCode.NOT_FOUND, "entry not found");
    const problem = entryProblem({ ...stored, ...change });
    if (problem !== undefined) throw invalidArgument(`datastore-validation: ${problem}`);
    return await entries.update(message.id, change);
  } catch (error) {
    throw failure(codeOf(error), "failed to update entry", error);
  }
}

function readChange(
  trustDomain: TrustDomain,
  message: Entry,
  inputMask: EntryMask | undefined,
): ReturnType<typeof entryChangeFrom> {
  try {
    return entryChangeFrom(trustDomain, message, inputMask);
  } catch (error) {
    throw invalidArgument("failed to convert entry", error);
  }
}

export async function batchDeleteEntry(
  { entries }: EntryWriteParts,
  { ids }: BatchDeleteEntryRequest,
  call: ApiCall,
): Promise<BatchDeleteEntryResponse> {
  const results: BatchDeleteEntryResponse_Result[] = [];
  for (const id of ids) {
    const remove = async (): Promise<BatchDeleteEntryResponse_Result> => {
      await deleteEntry(entries, id);
      return { id, status: okStatus() };
    };
    results.push(
      await batchItem(
        call,
        remove,
        (status) => ({ id, status }),
        () => ({ entry_id: id }),
      ),
    );
  }
  return { results };
}

async function deleteEntry(entries: Entries, id: string): Promise<void> {
  if (id === "") throw invalidArgument("missing entry ID");
  try {
    await entries.delete(id);
  } catch (error) {
    if (codeOf(error) === StatusCode.NOT_FOUND) {
      throw failure(StatusCode.NOT_FOUND, "entry not found", error);
    }
    throw failure(StatusCode.INTERNAL, "failed to delete entry", error);
  }
}
