/** Entries for whoever sits at a terminal. */
import { utcTime } from "#cli/go-time.ts";
import { tableText } from "#cli/table.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { idText } from "#server/commands/id-message.ts";

/** `declaredSet` is beside the reference's fields in JSON, too; absent when the entry was made by hand. */
export type KnownEntry = Entry & { readonly declaredSet?: string };

/** Of one question to the server. */
const MAX_IDS = 10_000;

/** A server of the reference knows no sets, and nothing is added then. */
export async function withSets(
  { declared }: ServerConnection,
  entries: readonly Entry[],
): Promise<KnownEntry[]> {
  const known: KnownEntry[] = [];
  for (let start = 0; start < entries.length; start += MAX_IDS) {
    const some = entries.slice(start, start + MAX_IDS);
    const entryIds = some.map(({ id }) => id);
    const sets = await declared("findSets", { entryIds }).then(
      (answer) => answer.sets,
      () => [],
    );
    for (const [at, entry] of some.entries()) {
      known.push(sets[at] ? { ...entry, declaredSet: sets[at] } : entry);
    }
  }
  return known;
}

export function entryTable(entries: readonly KnownEntry[]): string {
  const rows = entries.map((entry) => [
    idText(entry.spiffeId),
    idText(entry.parentId),
    entry.selectors.map(({ type, value }) => `${type}:${value}`).join(" "),
    originOf(entry),
    dayOf(entry),
    entry.id,
  ]);
  return tableText(["SPIFFE ID", "PARENT", "SELECTORS", "DECLARED", "SINCE", "ENTRY ID"], rows);
}

/** Further lines of an entry's block. */
export function originLines(entry: KnownEntry): string {
  const since =
    entry.createdAt === 0 ? "" : `Made at                 : ${utcTime(entry.createdAt)}\n`;
  return `Declared                : ${originOf(entry)}\n${since}\n`;
}

function originOf({ declaredSet }: KnownEntry): string {
  return declaredSet === undefined ? "no, typed" : `in set ${declaredSet}`;
}

function dayOf({ createdAt }: KnownEntry): string {
  return createdAt === 0 ? "" : utcTime(createdAt).slice(0, "2006-01-02".length);
}
