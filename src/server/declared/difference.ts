/**
 * What has to change so that a set has the entries that are declared. Pure: it looks at what it is given, and changes nothing.
 *
 * A declared entry is known again by its entry ID, when it has one; else by SPIFFE ID, parent ID and selectors; else, when there is one
 * left on either side with the same SPIFFE ID, it is that one, changed. So a workload whose selectors or parent change keeps its entry.
 */
import type { EntryFields } from "#server/message/convert-entry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { changedFields } from "./changed-fields.ts";
import { type CheckedEntry, placeOf } from "./check-entries.ts";
import { inTurns } from "./in-turns.ts";

/** An entry of the store, and the set it is declared in; undefined when it was made by hand. */
export interface KnownEntry {
  readonly entry: RegistrationEntry;
  readonly set: string | undefined;
}

export type Change =
  | {
      readonly kind: "create";
      readonly declared: CheckedEntry;
      /** The set's own entry in the same place, under an ID that is not the declared one. */
      readonly replaces: KnownEntry | undefined;
    }
  | {
      /** Adopted is an entry that was not the set's own. */
      readonly kind: "update" | "adopt";
      readonly declared: CheckedEntry;
      readonly before: KnownEntry;
      /** The names of what is not as it is declared. */
      readonly fields: readonly (keyof EntryFields)[];
    }
  | { readonly kind: "remove"; readonly before: KnownEntry };

export interface Difference {
  /** In an order in which they can be made: no workload loses its identity before it has the next one. */
  readonly changes: readonly Change[];
  readonly unchanged: number;
  /** How many entries the set has now. */
  readonly owned: number;
  /** A line each: what stands in the way. */
  readonly conflicts: readonly string[];
}

export interface DifferenceInput {
  readonly set: string;
  readonly declared: readonly CheckedEntry[];
  /** All of the store. */
  readonly known: readonly KnownEntry[];
  /** Whether entries of others, made by hand or in other sets, are taken over. */
  readonly adopt: boolean;
}

export async function findDifference(input: DifferenceInput): Promise<Difference> {
  const search = new Search(input.set, input.adopt);
  await inTurns(input.known, (one) => search.know(one));
  // Those with an ID first: what they name is not free for others.
  const withId = input.declared.filter(({ id }) => id !== "");
  await inTurns(withId, ({ id }) => search.reserve(id));
  await inTurns(withId, (one) => search.matchById(one));
  await inTurns(input.declared, (one) => {
    if (one.id === "") search.matchByPlace(one);
  });
  await inTurns(search.unmatched, (one) => search.matchBySpiffeId(one));
  return search.result();
}

class Search {
  readonly #set: string;
  readonly #adopt: boolean;
  readonly #byId: Map<string, KnownEntry> = new Map();
  readonly #own: Map<string, KnownEntry> = new Map();
  /** Of the set's own, and of all others. */
  readonly #ownByPlace: Map<string, KnownEntry> = new Map();
  readonly #othersByPlace: Map<string, KnownEntry> = new Map();
  #ownBySpiffeId: Map<string, KnownEntry[]> | undefined;
  readonly #unmatchedBySpiffeId: Map<string, number> = new Map();
  readonly #reserved: Set<string> = new Set();
  readonly unmatched: CheckedEntry[] = [];
  readonly #changed: Change[] = [];
  readonly #created: Change[] = [];
  readonly #conflicts: string[] = [];
  #owned = 0;
  #unchanged = 0;

  constructor(set: string, adopt: boolean) {
    this.#set = set;
    this.#adopt = adopt;
  }

  know(known: KnownEntry): void {
    const { entry, set } = known;
    this.#byId.set(entry.id, known);
    if (set !== this.#set) {
      this.#othersByPlace.set(placeOf(entry), known);
      return;
    }
    this.#owned++;
    this.#own.set(entry.id, known);
    this.#ownByPlace.set(placeOf(entry), known);
  }

  /** The ID is declared, and its entry not free to be replaced by another one. */
  reserve(id: string): void {
    this.#reserved.add(id);
  }

  matchById(declared: CheckedEntry): void {
    const known = this.#byId.get(declared.id);
    const other = this.#othersByPlace.get(declared.place);
    const stays = known?.set === this.#set && placeOf(known.entry) === declared.place;
    if (other !== undefined && other !== known && !stays) {
      this.#conflict(declared, other, "which has another entry ID: declare that one, or delete it");
    } else if (known === undefined) {
      const inPlace = this.#ownByPlace.get(declared.place);
      const isFree = inPlace !== undefined && !this.#reserved.has(inPlace.entry.id);
      this.#create(declared, isFree ? this.#takeOwn(inPlace) : undefined);
    } else {
      this.#match(declared, known);
    }
  }

  matchByPlace(declared: CheckedEntry): void {
    // What the set owns counts first: somebody may have changed an entry of his own to be like it.
    const known =
      this.#takeOwn(this.#ownByPlace.get(declared.place)) ??
      this.#othersByPlace.get(declared.place);
    if (known !== undefined) {
      this.#match(declared, known);
      return;
    }
    this.unmatched.push(declared);
    const id = declared.fields.spiffeId.toString();
    this.#unmatchedBySpiffeId.set(id, (this.#unmatchedBySpiffeId.get(id) ?? 0) + 1);
  }

  matchBySpiffeId(declared: CheckedEntry): void {
    this.#ownBySpiffeId ??= Map.groupBy(this.#own.values(), ({ entry }) =>
      entry.spiffeId.toString(),
    );
    const id = declared.fields.spiffeId.toString();
    const left = this.#ownBySpiffeId.get(id) ?? [];
    const [only] = left;
    if (only === undefined || left.length > 1 || this.#unmatchedBySpiffeId.get(id) !== 1) {
      this.#create(declared, undefined);
    } else {
      this.#match(declared, only);
    }
  }

  result(): Difference {
    const removed = [...this.#own.values()].map((before): Change => ({ kind: "remove", before }));
    return {
      changes: [...this.#changed, ...this.#created, ...removed],
      unchanged: this.#unchanged,
      owned: this.#owned,
      conflicts: this.#conflicts,
    };
  }

  /** @returns undefined when it was taken before */
  #takeOwn(known: KnownEntry | undefined): KnownEntry | undefined {
    return known !== undefined && this.#own.delete(known.entry.id) ? known : undefined;
  }

  #create(declared: CheckedEntry, replaces: KnownEntry | undefined): void {
    this.#created.push({ kind: "create", declared, replaces });
  }

  #match(declared: CheckedEntry, before: KnownEntry): void {
    const isOwn = before.set === this.#set;
    if (!isOwn && !this.#adopt) {
      this.#conflict(declared, before, "take it over by -adopt, or delete it");
      return;
    }
    this.#own.delete(before.entry.id);
    const fields = changedFields(before.entry, declared.fields);
    if (isOwn && fields.length === 0) this.#unchanged++;
    else this.#changed.push({ kind: isOwn ? "update" : "adopt", declared, before, fields });
  }

  #conflict(declared: CheckedEntry, { entry, set }: KnownEntry, wayOut: string): void {
    const whose = set === undefined ? "made by hand" : `declared in the set ${JSON.stringify(set)}`;
    this.#conflicts.push(
      `${declared.where}: ${entry.spiffeId} is there already, ${whose} (entry ID ${entry.id}): ${wayOut}`,
    );
  }
}
