/** How an authority of each kind is made, activated and written down: what a Rotation does when its time has come. */
import { countedCall } from "#telemetry/metrics.ts";
import { authorityFields, type TokenKey, type X509Ca } from "./authority.ts";
import {
  type CaJournal,
  type JournalKey,
  type JournalX509Ca,
  withActivated,
  withPrepared,
} from "./journal.ts";
import type { CaManagerParts } from "./parts.ts";
import { prepareX509Ca, x509KeyId } from "./prepare-x509.ts";
import type { RotationSteps } from "./rotation.ts";
import { prepareTokenKey, type TokenKeyKind, tokenKeyId, tokenKeyTitle } from "./token-key.ts";

export function x509Steps(parts: CaManagerParts, journal: CaJournal): RotationSteps<X509Ca> {
  return {
    prepare: (slot) =>
      countedCall(parts, ["ca", "manager", "x509_ca", "prepare"], () =>
        prepareX509(parts, journal, slot),
      ),
    activate: async (ca) => {
      await journal.changeX509((records) => withActivated(records, ca.authorityId));
      measureActivation(parts, ca);
      parts.log.info("X509 CA activated", authorityFields(ca));
    },
    hasKey: ({ slot, key }) => parts.keyManager.key(x509KeyId(slot)) === key,
  };
}

export function tokenKeySteps(
  parts: CaManagerParts,
  journal: CaJournal,
  kind: TokenKeyKind,
): RotationSteps<TokenKey> {
  const { name } = kind;
  return {
    prepare: (slot) =>
      countedCall(parts, ["ca", "manager", `${name}_key`, "prepare"], () =>
        prepareKey(parts, journal, kind, slot),
      ),
    activate: async (key) => {
      await journal.changeKeys(name, (records) => withActivated(records, key.authorityId));
      parts.metrics.count(["manager", `${name}_key`, "activate"]);
      parts.log.info(`${tokenKeyTitle(name)} key activated`, authorityFields(key));
    },
    hasKey: ({ slot, key }) => parts.keyManager.key(tokenKeyId(name, slot)) === key,
  };
}

function measureActivation({ metrics, clock, trustDomain }: CaManagerParts, ca: X509Ca): void {
  const labels = { trust_domain_id: trustDomain.name };
  metrics.count(["ca", "manager", "x509_ca", "activate"]);
  metrics.gauge(["manager", "x509_ca", "rotate", "expiration"], ca.notAfter, labels);
  const ttlSeconds = ca.notAfter - clock.nowSeconds();
  metrics.gauge(["manager", "x509_ca", "rotate", "ttl"], ttlSeconds, labels);
}

async function prepareX509(
  parts: CaManagerParts,
  journal: CaJournal,
  slot: X509Ca["slot"],
): Promise<X509Ca> {
  const ca = await prepareX509Ca(parts, slot);
  const base64 = (der: Uint8Array): string => Buffer.from(der).toString("base64");
  const { authorityId, issuedAt, notAfter, upstreamVersion, certificate, chain } = ca;
  const record: JournalX509Ca = {
    slot,
    status: "prepared",
    authorityId,
    issuedAt,
    notAfter,
    upstreamVersion,
    certificate: base64(certificate.der),
    chain: chain.map(base64),
  };
  const now = parts.clock.nowSeconds();
  await journal.changeX509((records) => withPrepared(records, record, now));
  return ca;
}

async function prepareKey(
  parts: CaManagerParts,
  journal: CaJournal,
  kind: TokenKeyKind,
  slot: TokenKey["slot"],
): Promise<TokenKey> {
  const tokenKey = await prepareTokenKey(parts, kind, slot);
  const { authorityId, issuedAt, notAfter, key } = tokenKey;
  const publicKey = Buffer.from(key.publicKeySpki).toString("base64");
  const record: JournalKey = {
    slot,
    status: "prepared",
    authorityId,
    issuedAt,
    notAfter,
    publicKey,
  };
  const now = parts.clock.nowSeconds();
  await journal.changeKeys(kind.name, (records) => withPrepared(records, record, now));
  return tokenKey;
}
