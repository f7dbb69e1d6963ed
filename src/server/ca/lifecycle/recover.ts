/** Finds the authorities of the last run: what the journal says, as far as the KeyManager still has those very keys. */

import {
  type Authority,
  keyAuthorityOf,
  type TokenKey,
  type X509Ca,
  x509AuthorityIds,
  x509Ca,
} from "#server/ca/authority/authority.ts";
import type { CaJournal, JournalKey, JournalX509Ca } from "#server/ca/authority/journal.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import { x509KeyId } from "#server/ca/authority/prepare-x509.ts";
import { type TokenKeyName, tokenKeyId, tokenKeyTitle } from "#server/ca/authority/token-key.ts";
import type { RotationState } from "#server/ca/rotation/rotation.ts";
import { type Bundle, emptyBundle, type KeyAuthority } from "#spiffe/bundle.ts";
import { Certificate } from "#x509/certificate.ts";

export interface Recovered {
  readonly x509: RotationState<X509Ca>;
  readonly jwt: RotationState<TokenKey>;
  /** Empty when WIT-SVIDs are switched off, whatever the journal holds. */
  readonly wit: RotationState<TokenKey>;
}

const NOTHING = { active: undefined, prepared: undefined, old: undefined };

/** Goes on with what the journal holds. An authority whose key is gone counts as old: it signs no more, and can be tainted. */
export async function recover(parts: CaManagerParts, journal: CaJournal): Promise<Recovered> {
  const now = parts.clock.nowSeconds();
  const valid = <R extends { readonly notAfter: number }>(records: readonly R[]): readonly R[] =>
    records.filter(({ notAfter }) => notAfter > now);
  const bundle = await parts.bundles.find(parts.trustDomain.name);
  const x509 = stateOf(valid(journal.x509), {
    recoverOne: (record) => recoverX509(parts, record),
    oldOne: (record) => oldX509(record, bundle),
  });
  const keysOf = (name: TokenKeyName, known: readonly KeyAuthority[] = []) =>
    stateOf(valid(journal.keys(name)), {
      recoverOne: (record) => recoverKey(parts, name, record),
      oldOne: (record) => oldKey(record, known),
    });
  const jwt = keysOf("jwt", bundle?.jwtAuthorities);
  const wit = parts.witSvids === undefined ? NOTHING : keysOf("wit", bundle?.witAuthorities);
  await republish(parts, { x509, jwt, wit });
  return { x509, jwt, wit };
}

function stateOf<R extends { readonly status: string }, T extends Authority>(
  records: readonly R[],
  steps: {
    readonly recoverOne: (record: R) => T | undefined;
    readonly oldOne: (record: R) => Authority | undefined;
  },
): RotationState<T> {
  const newest = records.toReversed();
  const find = (status: string): T | undefined => {
    const record = newest.find((one) => one.status === status);
    return record === undefined ? undefined : steps.recoverOne(record);
  };
  const active = find("active");
  const prepared = find("prepared");
  const retired = newest.find(
    ({ status }) => status === "old" || (status === "active" && active === undefined),
  );
  const old = retired === undefined ? undefined : steps.oldOne(retired);
  // A prepared authority has the slot, and in it the key, that was the old one's.
  return { active, prepared, old: old?.slot === prepared?.slot ? undefined : old };
}

function recoverX509(parts: CaManagerParts, record: JournalX509Ca): X509Ca | undefined {
  const { slot, issuedAt, upstreamVersion } = record;
  const key = parts.keyManager.key(x509KeyId(slot));
  const certificate = Certificate.parse(Buffer.from(record.certificate, "base64"));
  const chain = record.chain.map((der) => Buffer.from(der, "base64"));
  // A CA of the other kind is not carried on with when an upstream was configured, or taken out, meanwhile.
  // Only a CA that is signed by hand takes its time, so there the one from before goes on until then.
  const sameKind = parts.offline !== undefined || isRoot(record) === (parts.upstream === undefined);
  const sameKey =
    key !== undefined && Buffer.compare(key.publicKeySpki, certificate.publicKeySpki) === 0;
  if (key === undefined || !sameKey || !sameKind) {
    parts.log.warn("The X509 CA of the last run can no longer be used", { slot });
    return undefined;
  }
  const ttlSeconds = isRoot(record) ? certificate.notAfter - issuedAt : record.ttlSeconds;
  return x509Ca({ slot, key, certificate, chain, issuedAt, upstreamVersion, ttlSeconds });
}

function recoverKey(
  parts: CaManagerParts,
  name: TokenKeyName,
  record: JournalKey,
): TokenKey | undefined {
  const { slot, issuedAt, notAfter, authorityId } = record;
  const key = parts.keyManager.key(tokenKeyId(name, slot));
  const sameKey =
    key !== undefined && Buffer.from(key.publicKeySpki).toString("base64") === record.publicKey;
  if (key === undefined || !sameKey) {
    parts.log.warn(`${tokenKeyTitle(name)} key of the last run cannot be used again`, { slot });
    return undefined;
  }
  // Nobody gives a key less than was asked for.
  const ttlSeconds = notAfter - issuedAt;
  return { slot, key, authorityId, upstreamAuthorityId: "", issuedAt, notAfter, ttlSeconds };
}

/** Undefined for a root that the bundle holds no more: it was revoked. */
function oldX509(record: JournalX509Ca, bundle: Bundle | undefined): Authority | undefined {
  const der = Buffer.from(record.certificate, "base64");
  const known = bundle?.x509Authorities.some(
    ({ certificate }) => Buffer.compare(certificate, der) === 0,
  );
  if (isRoot(record) && known !== true) return undefined;
  const { slot, issuedAt, notAfter } = record;
  return { slot, issuedAt, notAfter, ...x509AuthorityIds(Certificate.parse(der)) };
}

/** Undefined for a key that the bundle holds no more: it was revoked. */
function oldKey(
  { slot, authorityId, issuedAt, notAfter }: JournalKey,
  known: readonly KeyAuthority[],
): Authority | undefined {
  return known.some(({ keyId }) => keyId === authorityId)
    ? { slot, authorityId, upstreamAuthorityId: "", issuedAt, notAfter }
    : undefined;
}

function isRoot({ chain }: JournalX509Ca): boolean {
  return chain.length === 0;
}

/** A bundle that was lost or set by hand gets what we sign with back; usually nothing changes. */
async function republish(parts: CaManagerParts, { x509, jwt, wit }: Recovered): Promise<void> {
  const signing = <T extends Authority>({ active, prepared }: RotationState<T>): T[] =>
    [active, prepared].filter((one) => one !== undefined);
  const x509Authorities = signing(x509)
    .filter(({ chain }) => chain.length === 0)
    .map(({ certificate }) => ({ certificate: certificate.der, tainted: false }));
  const jwtAuthorities = signing(jwt).map(keyAuthorityOf);
  const witAuthorities = signing(wit).map(keyAuthorityOf);
  if (x509Authorities.length + jwtAuthorities.length + witAuthorities.length === 0) return;
  await parts.bundles.append({
    ...emptyBundle(parts.trustDomain),
    x509Authorities,
    jwtAuthorities,
    witAuthorities,
  });
}
