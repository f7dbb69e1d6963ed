/** Declared entries held to the rules that entries made by hand are held to, and to each other. */
import type { DeclaredEntry } from "#proto/spire_edge/declared/v1/declared.ts";
import { type EntryFields, entryFieldsFrom } from "#server/message/convert-entry.ts";
import { entryProblem } from "#server/message/entry-rules.ts";
import { selectorKey } from "#spiffe/selector.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { inTurns } from "./in-turns.ts";

/** A declared entry that may be stored. */
export interface CheckedEntry {
  /** Empty leaves it to the server. */
  readonly id: string;
  readonly fields: EntryFields;
  /** The SPIFFE ID, parent ID and selectors as one text: what makes two entries similar. */
  readonly place: string;
  /** File, line and column. */
  readonly where: string;
}

export interface CheckedEntries {
  readonly entries: readonly CheckedEntry[];
  /** How many more were declared whose expiry has passed. */
  readonly expired: number;
  /** A line each; nothing may be done while there are any. */
  readonly problems: readonly string[];
}

export interface CheckParts {
  readonly trustDomain: TrustDomain;
  /** Names of the trust domains whose bundle is there. */
  readonly bundles: ReadonlySet<string>;
  /** Unix seconds. */
  readonly now: number;
}

/** Checks a declaration as a whole. */
export async function checkEntries(
  parts: CheckParts,
  declared: readonly DeclaredEntry[],
): Promise<CheckedEntries> {
  const problems: string[] = [];
  const entries: CheckedEntry[] = [];
  const seen = new Seen();
  let expired = 0;
  await inTurns(declared, (one) => {
    const checked = checkEntry(parts, one);
    const problem = typeof checked === "string" ? checked : seen.add(checked);
    if (problem !== undefined) problems.push(`${one.where}: ${problem}`);
    else if (typeof checked === "string") return;
    else if (hasExpired(checked, parts.now)) expired++;
    else entries.push(checked);
  });
  return { entries, expired, problems };
}

/** The entries before, by what no two of them may have in common. */
class Seen {
  readonly #places: Map<string, string> = new Map();
  readonly #ids: Map<string, string> = new Map();

  /** @returns what is wrong, if another one is like it */
  add({ id, place, where }: CheckedEntry): string | undefined {
    const similar = this.#places.get(place);
    if (similar !== undefined) {
      return `the same SPIFFE ID, parent ID and selectors are declared at ${similar}`;
    }
    const twin = this.#ids.get(id);
    if (twin !== undefined) return `entry ID ${JSON.stringify(id)} is declared at ${twin}`;
    this.#places.set(place, where);
    if (id !== "") this.#ids.set(id, where);
    return undefined;
  }
}

/** The server removes such an entry from the store; to store it anew would make it come and go for ever. */
function hasExpired({ fields }: CheckedEntry, now: number): boolean {
  return fields.expiresAt !== 0 && fields.expiresAt <= now;
}

/** @returns what is wrong, if anything is */
function checkEntry(
  { trustDomain, bundles }: CheckParts,
  { entry, where }: DeclaredEntry,
): CheckedEntry | string {
  if (entry === undefined) return "no entry is given";
  try {
    const fields = entryFieldsFrom(trustDomain, entry);
    const problem = entryProblem({ ...fields, id: entry.id, createdAt: 0, revisionNumber: 0 });
    const unknown = fields.federatesWith.find((name) => !bundles.has(name));
    if (problem !== undefined) return problem;
    if (unknown !== undefined) return `unable to find federated bundle "spiffe://${unknown}"`;
    return { id: entry.id, fields, place: placeOf(fields), where };
  } catch (error) {
    return problemText(error);
  }
}

/** What makes two entries similar, as one text. @param selectors sorted and free of repetitions */
export function placeOf({
  spiffeId,
  parentId,
  selectors,
}: Pick<EntryFields, "spiffeId" | "parentId" | "selectors">): string {
  return JSON.stringify([`${spiffeId}`, `${parentId}`, ...selectors.map(selectorKey)]);
}
