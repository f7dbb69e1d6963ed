/**
 * The CA journal: which authority is in which slot, and which ones signed before, so that a restart goes on with the same ones.
 * JSON, stored by the datastore. Taint marks are not here: they are in the trust bundle.
 */
import type { CaJournals } from "#server/datastore/datastore.ts";
import type { Slot, X509Ca } from "./authority.ts";
import type { TokenKeyName } from "./token-key.ts";

const VERSION = 3;
/** Without keys for WIT-SVIDs. */
const VERSION_BEFORE_WIT = 2;
/** As the reference, for each kind. */
const MAX_RECORDS = 10;
/** As the reference: what expired longer ago is of no use to anybody. */
const KEPT_AFTER_EXPIRY_SECONDS = 14 * 24 * 3600;

interface JournalRecord {
  readonly slot: Slot;
  readonly status: "prepared" | "active" | "old";
  readonly authorityId: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly notAfter: number;
}

export interface JournalX509Ca extends JournalRecord {
  /** DER in base64: the CA's certificate, then what SVIDs carry above it. */
  readonly certificate: string;
  readonly chain: readonly string[];
  /** What signed it, as the UpstreamAuthority names it; empty when it is a root. */
  readonly upstreamVersion: string;
  /** Seconds that were asked for; absent in records of earlier versions, and where nobody was asked. */
  readonly ttlSeconds?: number | undefined;
}

/** A key for JWT-SVIDs, or for WIT-SVIDs. */
export interface JournalKey extends JournalRecord {
  /** SubjectPublicKeyInfo, DER in base64: tells whether the KeyManager still has the same key. */
  readonly publicKey: string;
}

/** A request for an X.509 CA that waits for a signature by hand. Its key is in the KeyManager, under the name of the slot. */
export interface JournalRequest {
  readonly slot: Slot;
  /** Unix seconds. */
  readonly requestedAt: number;
  /** PKCS#10, DER in base64. */
  readonly csr: string;
}

interface Journal {
  readonly version: typeof VERSION;
  /** Oldest first, all of them. */
  readonly x509: readonly JournalX509Ca[];
  readonly jwt: readonly JournalKey[];
  readonly wit: readonly JournalKey[];
  readonly x509Request?: JournalRequest | undefined;
}

export class CaJournal {
  readonly #store: CaJournals;
  #journal: Journal;

  private constructor(store: CaJournals, journal: Journal) {
    this.#store = store;
    this.#journal = journal;
  }

  /** @throws Error when the stored journal cannot be read; it is then left as it is */
  static async load(store: CaJournals): Promise<CaJournal> {
    const stored = await store.load();
    const empty: Journal = { version: VERSION, x509: [], jwt: [], wit: [] };
    return new CaJournal(store, stored === undefined ? empty : decodeJournal(stored));
  }

  get x509(): readonly JournalX509Ca[] {
    return this.#journal.x509;
  }

  keys(name: TokenKeyName): readonly JournalKey[] {
    return this.#journal[name];
  }

  get x509Request(): JournalRequest | undefined {
    return this.#journal.x509Request;
  }

  /** Writes down what waits for a signature, in place of what waited before. */
  request(x509Request: JournalRequest): Promise<void> {
    return this.#save({ ...this.#journal, x509Request });
  }

  /** Writes down what was signed and that the request waits no more, both or nothing. */
  answerRequest(
    change: (records: readonly JournalX509Ca[]) => readonly JournalX509Ca[],
  ): Promise<void> {
    const x509 = change(this.#journal.x509);
    return this.#save({ ...this.#journal, x509, x509Request: undefined });
  }

  /** Changes are made one after the other, never two at once; each is stored when it resolves. */
  changeX509(
    change: (records: readonly JournalX509Ca[]) => readonly JournalX509Ca[],
  ): Promise<void> {
    return this.#save({ ...this.#journal, x509: change(this.#journal.x509) });
  }

  changeKeys(
    name: TokenKeyName,
    change: (records: readonly JournalKey[]) => readonly JournalKey[],
  ): Promise<void> {
    return this.#save({ ...this.#journal, [name]: change(this.#journal[name]) });
  }

  async #save(journal: Journal): Promise<void> {
    await this.#store.save(new TextEncoder().encode(JSON.stringify(journal)));
    this.#journal = journal;
  }
}

/** The record of a CA that is prepared. */
export function journalX509Ca(ca: X509Ca): JournalX509Ca {
  const base64 = (der: Uint8Array): string => Buffer.from(der).toString("base64");
  const { slot, authorityId, issuedAt, notAfter, upstreamVersion, certificate, chain } = ca;
  const { ttlSeconds } = ca;
  return {
    slot,
    status: "prepared",
    authorityId,
    issuedAt,
    notAfter,
    upstreamVersion,
    ttlSeconds,
    certificate: base64(certificate.der),
    chain: chain.map(base64),
  };
}

/**
 * The records with a prepared one at their end, in place of one that was prepared before and never signed.
 *
 * @param now Unix seconds
 */
export function withPrepared<R extends JournalRecord>(
  records: readonly R[],
  prepared: R,
  now: number,
): readonly R[] {
  const kept = records.filter(
    ({ status, notAfter }) => status !== "prepared" && notAfter > now - KEPT_AFTER_EXPIRY_SECONDS,
  );
  return [...kept, prepared].slice(-MAX_RECORDS);
}

/** The records after an authority took over from the active one. */
export function withActivated<R extends JournalRecord>(
  records: readonly R[],
  authorityId: string,
): readonly R[] {
  return records.map((record) => {
    if (record.authorityId === authorityId) return { ...record, status: "active" };
    return record.status === "active" ? { ...record, status: "old" } : record;
  });
}

function decodeJournal(bytes: Uint8Array): Journal {
  const record: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const version =
    typeof record === "object" && record !== null && "version" in record && record.version;
  if (version === VERSION) return record as Journal;
  if (version === VERSION_BEFORE_WIT) {
    return { ...(record as Journal), version: VERSION, wit: [] };
  }
  throw new Error(
    "the CA journal in the datastore was written by another version of the server; run that version, or start with a new datastore",
  );
}
