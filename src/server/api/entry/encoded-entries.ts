/**
 * Entries as agents are sent them, encoded once: agents ask for all of theirs every few seconds, and most are as they were. An entry that
 * changes is another object, and what was kept for the one before goes with it.
 */
import type { EntryMask } from "#proto/spire/api/types/entry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";

/** Masks for which encodings are kept: agents of one version ask with one. */
const MASKS = 4;

type Encode = (entry: RegistrationEntry, mask: EntryMask | undefined) => Uint8Array;

export class EncodedEntries {
  readonly #encode: Encode;
  readonly #byMask: Map<string, WeakMap<RegistrationEntry, Uint8Array>> = new Map();

  /** @param encode the part of an answer that has this one entry */
  constructor(encode: Encode) {
    this.#encode = encode;
  }

  /** The parts of an answer, one for each entry. */
  of(entries: readonly RegistrationEntry[], mask: EntryMask | undefined): Uint8Array[] {
    const kept = this.#keptFor(mask);
    return entries.map((entry) => {
      const known = kept.get(entry);
      if (known !== undefined) return known;
      const encoded = this.#encode(entry, mask);
      kept.set(entry, encoded);
      return encoded;
    });
  }

  #keptFor(mask: EntryMask | undefined): WeakMap<RegistrationEntry, Uint8Array> {
    const key = mask === undefined ? "everything" : maskKey(mask);
    let kept = this.#byMask.get(key);
    if (kept === undefined) {
      const [oldest] = this.#byMask.keys();
      if (this.#byMask.size >= MASKS && oldest !== undefined) this.#byMask.delete(oldest);
      kept = new WeakMap();
      this.#byMask.set(key, kept);
    }
    return kept;
  }
}

function maskKey(mask: EntryMask): string {
  return Object.entries(mask)
    .filter(([, asked]) => asked === true)
    .map(([field]) => field)
    .sort()
    .join();
}
