/** What a stored CA journal says of the authorities that sign or are to sign next. For backups, which hold journals that nobody runs. */
import { Certificate } from "#x509/certificate.ts";
import { parseCsr } from "#x509/csr.ts";
import type { Slot } from "./authority.ts";
import { CaJournal } from "./journal.ts";
import { x509KeyId } from "./prepare-x509.ts";
import { type TokenKeyName, tokenKeyId, tokenKeyTitle } from "./token-key.ts";

const STATUSES = ["active", "prepared"] as const;
const TOKEN_KEYS: readonly TokenKeyName[] = ["jwt", "wit"];

export interface JournalAuthority {
  readonly kind: "x509" | TokenKeyName;
  /** The kind as people write it. */
  readonly title: string;
  readonly status: (typeof STATUSES)[number];
  readonly authorityId: string;
  /** The name of its key in the KeyManager. */
  readonly keyId: string;
  readonly publicKeySpki: Uint8Array;
  /** Unix seconds. */
  readonly notAfter: number;
  /** The trust domains, as SPIFFE IDs, that an X.509 CA is of; empty for a key that signs tokens. */
  readonly trustDomainIds: readonly string[];
}

/** A request for a CA that waits for a signature by hand. */
export interface JournalRequest {
  /** The name of its key in the KeyManager. */
  readonly keyId: string;
  readonly publicKeySpki: Uint8Array;
  /** Unix seconds. */
  readonly requestedAt: number;
}

/** The request that waits, if one does. @param record as the datastore holds it @throws Error when it cannot be read */
export async function journalRequest(record: Uint8Array): Promise<JournalRequest | undefined> {
  const { x509Request } = await readJournal(record);
  if (x509Request === undefined) return undefined;
  const { slot, requestedAt, csr } = x509Request;
  const { publicKeySpki } = parseCsr(Buffer.from(csr, "base64"));
  return { keyId: x509KeyId(slot), publicKeySpki, requestedAt };
}

/**
 * The active and the prepared authority of each kind, where there are.
 *
 * @param record as the datastore holds it
 * @throws Error when it cannot be read
 */
export async function journalAuthorities(record: Uint8Array): Promise<readonly JournalAuthority[]> {
  const journal = await readJournal(record);
  const cas = newest(journal.x509).map((ca): JournalAuthority => {
    const { publicKeySpki, uriSans } = Certificate.parse(Buffer.from(ca.certificate, "base64"));
    const keyId = x509KeyId(ca.slot);
    return {
      ...named(ca),
      kind: "x509",
      title: "X.509",
      keyId,
      publicKeySpki,
      trustDomainIds: uriSans,
    };
  });
  const keys = TOKEN_KEYS.flatMap((kind) =>
    newest(journal.keys(kind)).map((key): JournalAuthority => {
      const publicKeySpki = Buffer.from(key.publicKey, "base64");
      const keyId = tokenKeyId(kind, key.slot);
      return {
        ...named(key),
        kind,
        title: tokenKeyTitle(kind),
        keyId,
        publicKeySpki,
        trustDomainIds: [],
      };
    }),
  );
  return [...cas, ...keys];
}

function readJournal(record: Uint8Array): Promise<CaJournal> {
  return CaJournal.load({ load: async () => record, save: async () => undefined });
}

interface JournalRecord {
  readonly slot: Slot;
  readonly status: string;
  readonly authorityId: string;
  readonly notAfter: number;
}

type Signing<R> = R & { readonly status: JournalAuthority["status"] };

/** As at a server's start: of several the newest counts. */
function newest<R extends JournalRecord>(records: readonly R[]): Signing<R>[] {
  return STATUSES.flatMap((status) => {
    const record = records.findLast((one) => one.status === status);
    return record === undefined ? [] : [{ ...record, status }];
  });
}

function named({
  status,
  authorityId,
  notAfter,
}: Signing<JournalRecord>): Pick<JournalAuthority, "status" | "authorityId" | "notAfter"> {
  return { status, authorityId, notAfter };
}
