/** The CA journal: which authority is in which slot, so that a restart goes on with the same ones. JSON, stored by the datastore. */
import type { Slot } from "./authority.ts";

export interface JournalX509Ca {
  readonly slot: Slot;
  readonly active: boolean;
  readonly issuedAt: number;
  /** DER in base64: the CA's certificate, then what SVIDs carry above it. */
  readonly certificate: string;
  readonly chain: readonly string[];
}

export interface JournalJwtKey {
  readonly slot: Slot;
  readonly active: boolean;
  readonly issuedAt: number;
  readonly notAfter: number;
  readonly keyId: string;
  /** SubjectPublicKeyInfo, DER in base64: tells whether the KeyManager still has the same key. */
  readonly publicKey: string;
}

export interface Journal {
  readonly version: 1;
  readonly x509: readonly JournalX509Ca[];
  readonly jwt: readonly JournalJwtKey[];
}

export const EMPTY_JOURNAL: Journal = { version: 1, x509: [], jwt: [] };

export function encodeJournal(journal: Journal): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(journal));
}

/** @throws Error when the record is not a journal of this version */
export function decodeJournal(bytes: Uint8Array): Journal {
  const record: unknown = JSON.parse(new TextDecoder().decode(bytes));
  if (
    typeof record !== "object" ||
    record === null ||
    !("version" in record) ||
    record.version !== 1
  ) {
    throw new Error(
      "the CA journal in the datastore was written by a newer version; upgrade the server",
    );
  }
  return record as Journal;
}
