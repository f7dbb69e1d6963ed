/** What a server acknowledged of its registration entries, and what it was asked for without an answer. */
import type { Entry } from "#proto/spire/api/types/entry.ts";

interface Acknowledged {
  readonly revision: number;
  readonly content: string;
}

/** Something asked for; it is settled by the answer, or stays open. */
interface Wish {
  /** Undefined for a deletion. */
  readonly content: string | undefined;
}

class EntryRecord {
  /** By the highest revision. */
  acknowledged: Acknowledged | undefined;
  isDeleted = false;
  readonly open: Set<Wish> = new Set();
}

/** What matters of an entry, in one spelling. */
export function contentOf(entry: Entry): string {
  const { spiffeId, parentId, selectors, x509SvidTtl, hint, dnsNames } = entry;
  const sorted = selectors.map(({ type, value }) => `${type}:${value}`).toSorted();
  return JSON.stringify([spiffeId?.path, parentId?.path, sorted, x509SvidTtl, hint, dnsNames]);
}

export class EntryLedger {
  readonly #records: Map<string, EntryRecord> = new Map();

  /** IDs of the entries that the server acknowledged to have. */
  living(): string[] {
    return [...this.#records]
      .filter(([, { acknowledged, isDeleted }]) => acknowledged !== undefined && !isDeleted)
      .map(([id]) => id);
  }

  /** Writes down that an entry is to become like this, or to go (undefined). @returns to be called with the answer */
  ask(id: string, content: string | undefined): (answered: Entry | "deleted") => void {
    const known = this.#records.get(id);
    const record = known === undefined || known.isDeleted ? new EntryRecord() : known;
    this.#records.set(id, record);
    const wish: Wish = { content };
    record.open.add(wish);
    return (answered) => {
      record.open.delete(wish);
      if (answered === "deleted") {
        record.isDeleted = true;
        return;
      }
      const revision = answered.revisionNumber;
      if (revision > (record.acknowledged?.revision ?? -1)) {
        record.acknowledged = { revision, content: contentOf(answered) };
      }
    };
  }

  /** @returns what is not as it was acknowledged. From then on, what is stored counts as acknowledged: somebody has seen it. */
  compare(entries: readonly Entry[]): string[] {
    const stored = new Map(entries.map((entry) => [entry.id, entry]));
    const problems: string[] = [];
    for (const [id, record] of this.#records) {
      const entry = stored.get(id);
      const problem = entry === undefined ? problemOfAbsent(record) : problemOf(record, entry);
      if (problem !== undefined) problems.push(`entry ${id} ${problem}`);
      adopt(record, entry);
    }
    const unknown = [...stored.keys()].filter((id) => !this.#records.has(id));
    return [...problems, ...unknown.map((id) => `entry ${id} was never asked for`)];
  }
}

function problemOfAbsent({ acknowledged, isDeleted, open }: EntryRecord): string | undefined {
  const mayBeGone = isDeleted || [...open].some(({ content }) => content === undefined);
  return acknowledged === undefined || mayBeGone ? undefined : "is lost";
}

function problemOf(record: EntryRecord, entry: Entry): string | undefined {
  const { acknowledged, isDeleted, open } = record;
  if (isDeleted) return "is back, although its deletion was acknowledged";
  const content = contentOf(entry);
  const revision = entry.revisionNumber;
  const last = acknowledged?.revision ?? -1;
  if (revision < last) return `went back from revision ${last} to ${revision}`;
  if (revision === last) {
    return content === acknowledged?.content
      ? undefined
      : `is ${content} in revision ${revision}, acknowledged was ${acknowledged?.content}`;
  }
  if (revision > last + open.size) return `has revision ${revision}, nobody asked for that many`;
  return [...open].some((wish) => wish.content === content)
    ? undefined
    : `is ${content}, nobody asked for that`;
}

function adopt(record: EntryRecord, entry: Entry | undefined): void {
  record.open.clear();
  record.isDeleted = entry === undefined;
  record.acknowledged =
    entry === undefined ? undefined : { revision: entry.revisionNumber, content: contentOf(entry) };
}
