/** How an authority of each kind is made, activated and written down: what a Rotation does when its time has come. */

import { authorityFields, type TokenKey, type X509Ca } from "#server/ca/authority/authority.ts";
import {
  type CaJournal,
  type JournalKey,
  journalX509Ca,
  withActivated,
  withPrepared,
} from "#server/ca/authority/journal.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import { prepareX509Ca, x509KeyId } from "#server/ca/authority/prepare-x509.ts";
import {
  prepareTokenKey,
  type TokenKeyKind,
  tokenKeyId,
  tokenKeyTitle,
} from "#server/ca/authority/token-key.ts";
import type { OfflineRequests } from "#server/ca/offline/offline-requests.ts";
import type { RotationSteps } from "#server/ca/rotation/rotation.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { countedCall } from "#telemetry/metrics.ts";
import type { OfflineAuthority } from "#upstream/upstream-authority.ts";
import { isoTime } from "#x509/iso-time.ts";

interface X509StepsParts {
  /** Where the CA is signed by hand. */
  readonly requests: OfflineRequests | undefined;
  onActivated(): void;
}

export function x509Steps(
  parts: CaManagerParts,
  journal: CaJournal,
  { requests, onActivated }: X509StepsParts,
): RotationSteps<X509Ca> {
  return {
    ...(parts.offline === undefined ? configuredLife(parts) : offlineSteps(parts.offline)),
    prepare: (slot) =>
      countedCall<X509Ca | undefined>(parts, ["ca", "manager", "x509_ca", "prepare"], () =>
        requests === undefined ? prepareX509(parts, journal, slot) : requests.begin(slot),
      ),
    activate: async (ca) => {
      if (parts.offline !== undefined) checkBegun(ca, parts.clock.nowSeconds());
      await journal.changeX509((records) => withActivated(records, ca.authorityId));
      measureActivation(parts, ca);
      parts.log.info("X509 CA activated", authorityFields(ca));
      parts.log.info("Successfully rotated X.509 CA", {
        trust_domain_id: parts.trustDomain.id,
        ttl: ca.notAfter - parts.clock.nowSeconds(),
      });
      onActivated();
    },
    hasKey: ({ slot, key }) => parts.keyManager.key(x509KeyId(slot)) === key,
  };
}

function configuredLife({ profile }: CaManagerParts): { readonly ttlSeconds: () => number } {
  return { ttlSeconds: () => profile().caTtlSeconds };
}

function offlineSteps(offline: OfflineAuthority): Partial<RotationSteps<X509Ca>> {
  return {
    // What waits for a signature has a slot of its own, so that it costs nothing that signs or is about to.
    slots: ["A", "B", "C"],
    prepareAheadSeconds: () => offline.warnBeforeSeconds,
    awaiting: () =>
      `the X.509 authority is signed by hand: its request waits at ${offline.csrPath}; have it signed, and give it to \`spire-server ca import\``,
    startsAt: ({ certificate }) => certificate.notBefore,
  };
}

/** What somebody else signed may begin later; an operator cannot have it sign before. */
function checkBegun({ certificate }: X509Ca, now: number): void {
  if (certificate.notBefore <= now) return;
  throw new StatusError(
    StatusCode.FAILED_PRECONDITION,
    `the prepared X.509 authority begins at ${isoTime(certificate.notBefore)}`,
  );
}

export function tokenKeySteps(
  parts: CaManagerParts,
  journal: CaJournal,
  kind: TokenKeyKind,
): RotationSteps<TokenKey> {
  const { name } = kind;
  return {
    ...configuredLife(parts),
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
  const record = journalX509Ca(ca);
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
