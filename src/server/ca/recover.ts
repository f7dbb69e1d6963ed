/** Finds the authorities of the last run: what the journal says, as far as the KeyManager still has those very keys. */
import { emptyBundle } from "#spiffe/bundle.ts";
import { Certificate } from "#x509/certificate.ts";
import { type JwtKey, type X509Ca, x509Ca } from "./authority.ts";
import {
  decodeJournal,
  EMPTY_JOURNAL,
  type Journal,
  type JournalJwtKey,
  type JournalX509Ca,
} from "./journal.ts";
import type { CaManagerParts } from "./parts.ts";
import { jwtKeyId } from "./prepare-jwt.ts";
import { x509KeyId } from "./prepare-x509.ts";

interface Pair<T> {
  readonly active: T | undefined;
  readonly next: T | undefined;
}

export interface Recovered {
  readonly x509: Pair<X509Ca>;
  readonly jwt: Pair<JwtKey>;
}

/** @throws Error when the journal cannot be read; it is then left as it is */
export async function recover(parts: CaManagerParts): Promise<Recovered> {
  const stored = await parts.journals.load();
  const journal: Journal = stored === undefined ? EMPTY_JOURNAL : decodeJournal(stored);
  const x509 = pair(journal.x509, (record) => recoverX509(parts, record));
  const jwt = pair(journal.jwt, (record) => recoverJwt(parts, record));
  await republish(parts, x509, jwt);
  return { x509, jwt };
}

function pair<R extends { readonly active: boolean }, T>(
  records: readonly R[],
  recoverOne: (record: R) => T | undefined,
): Pair<T> {
  const find = (active: boolean): T | undefined => {
    const record = records.find((one) => one.active === active);
    return record === undefined ? undefined : recoverOne(record);
  };
  return { active: find(true), next: find(false) };
}

function recoverX509(parts: CaManagerParts, record: JournalX509Ca): X509Ca | undefined {
  const key = parts.keyManager.key(x509KeyId(record.slot));
  const certificate = Certificate.parse(Buffer.from(record.certificate, "base64"));
  const chain = record.chain.map((der) => Buffer.from(der, "base64"));
  // A CA of the other kind is not carried on with when an upstream was configured, or taken out, meanwhile.
  const sameKind = chain.length > 0 === (parts.upstream !== undefined);
  const sameKey =
    key !== undefined && Buffer.compare(key.publicKeySpki, certificate.publicKeySpki) === 0;
  if (
    key === undefined ||
    !sameKey ||
    !sameKind ||
    certificate.notAfter <= parts.clock.nowSeconds()
  ) {
    parts.log.warn("X509 CA of the last run cannot be used again", { slot: record.slot });
    return undefined;
  }
  return x509Ca(record.slot, key, certificate, chain, record.issuedAt);
}

function recoverJwt(parts: CaManagerParts, record: JournalJwtKey): JwtKey | undefined {
  const key = parts.keyManager.key(jwtKeyId(record.slot));
  const sameKey =
    key !== undefined && Buffer.from(key.publicKeySpki).toString("base64") === record.publicKey;
  if (key === undefined || !sameKey || record.notAfter <= parts.clock.nowSeconds()) {
    parts.log.warn("JWT key of the last run cannot be used again", { slot: record.slot });
    return undefined;
  }
  const { slot, issuedAt, notAfter, keyId } = record;
  return { slot, key, authorityId: keyId, issuedAt, notAfter };
}

/** A bundle that was lost or set by hand gets what we sign with back; usually nothing changes. */
async function republish(
  parts: CaManagerParts,
  x509: Pair<X509Ca>,
  jwt: Pair<JwtKey>,
): Promise<void> {
  const present = <T>(found: Pair<T>): T[] =>
    [found.active, found.next].filter((one) => one !== undefined);
  const x509Authorities = present(x509)
    .filter(({ chain }) => chain.length === 0)
    .map(({ certificate }) => ({ certificate: certificate.der, tainted: false }));
  const jwtAuthorities = present(jwt).map(({ authorityId, key, notAfter }) => ({
    keyId: authorityId,
    publicKey: key.publicKeySpki,
    expiresAt: notAfter,
    tainted: false,
  }));
  if (x509Authorities.length + jwtAuthorities.length === 0) return;
  await parts.bundles.append({
    ...emptyBundle(parts.trustDomain),
    x509Authorities,
    jwtAuthorities,
  });
}
