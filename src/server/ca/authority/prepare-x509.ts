/** A new X.509 CA: its key, its certificate from itself or from an upstream, and its root in the trust bundle. */

import type { ManagedKey } from "#keymanager/key-manager.ts";
import {
  CA_EXTENSIONS,
  caSubjectDer,
  NOT_BEFORE_CUSHION_SECONDS,
} from "#server/ca/profile/profile.ts";
import { newSerial, serialText } from "#server/ca/profile/serial.ts";
import { emptyBundle, type X509Authority } from "#spiffe/bundle.ts";
import type { UpstreamAuthority } from "#upstream/upstream-authority.ts";
import { Certificate } from "#x509/certificate.ts";
import { createCsr } from "#x509/csr.ts";
import { subjectAltNameExtension, subjectKeyIdExtension } from "#x509/extensions.ts";
import { issueCertificate, subjectKeyIdOf } from "#x509/issue.ts";
import { confirmCertificate } from "#x509/peculiar.ts";
import { isSelfSigned, verifyChainToRoot } from "#x509/self-signed.ts";
import { authorityFields, type Slot, type X509Ca, x509Ca } from "./authority.ts";
import type { CaManagerParts } from "./parts.ts";

export function x509KeyId(slot: Slot): string {
  return `x509-CA-${slot}`;
}

/** Makes the CA of a slot. When this resolves, its root is in the stored bundle. @throws StatusError or Error */
export async function prepareX509Ca(parts: CaManagerParts, slot: Slot): Promise<X509Ca> {
  const key = await parts.keyManager.generateKey(x509KeyId(slot), parts.caKeyType);
  const { ca, roots, issuer } =
    parts.upstream === undefined
      ? await signedByItself(parts, slot, key)
      : await signedByUpstream(parts, slot, key, parts.upstream);
  await confirmCertificate(ca.certificate.der, issuer);
  await parts.bundles.append({ ...emptyBundle(parts.trustDomain), x509Authorities: roots });
  const selfSigned = parts.upstream === undefined;
  parts.log.info("X509 CA prepared", { ...authorityFields(ca), self_signed: selfSigned });
  return ca;
}

interface Prepared {
  readonly ca: X509Ca;
  readonly roots: readonly X509Authority[];
  /** The certificate of what signed the CA, DER. */
  readonly issuer: Uint8Array;
}

async function signedByItself(
  parts: CaManagerParts,
  slot: Slot,
  key: ManagedKey,
): Promise<Prepared> {
  const now = parts.clock.nowSeconds();
  const { caSubject, caTtlSeconds } = parts.profile();
  const serial = newSerial(parts.random);
  const subjectDer = caSubjectDer(caSubject, { serialNumber: serialText(serial) });
  const der = await issueCertificate(
    {
      serialNumber: serial,
      issuerDer: subjectDer,
      subjectDer,
      notBefore: now - NOT_BEFORE_CUSHION_SECONDS,
      notAfter: now + caTtlSeconds,
      publicKeySpki: key.publicKeySpki,
      extensions: [
        ...CA_EXTENSIONS,
        subjectKeyIdExtension(subjectKeyIdOf(key.publicKeySpki)),
        subjectAltNameExtension(parts.trustDomain.id, [], false),
      ],
    },
    key,
  );
  const certificate = Certificate.parse(der);
  return {
    ca: x509Ca({
      slot,
      key,
      certificate,
      chain: [],
      issuedAt: now,
      upstreamVersion: "",
      ttlSeconds: caTtlSeconds,
    }),
    roots: [{ certificate: der, tainted: false }],
    issuer: der,
  };
}

async function signedByUpstream(
  parts: CaManagerParts,
  slot: Slot,
  key: ManagedKey,
  upstream: UpstreamAuthority,
): Promise<Prepared> {
  const now = parts.clock.nowSeconds();
  const { caSubject, caTtlSeconds } = parts.profile();
  const csr = await createCsr({
    signer: key,
    subjectDer: caSubjectDer(caSubject, {}),
    uriSan: parts.trustDomain.id,
  });
  const minted = await upstream.mintX509Ca(csr, caTtlSeconds);
  const { caChain, upstreamRoots, version } = minted;
  const [certificate, ...above] = caChain.map((der) => Certificate.parse(der));
  if (certificate === undefined)
    throw new Error(`upstream authority "${upstream.name}" returned no certificate`);
  const roots = await untainted(parts, upstreamRoots);
  const answer = { name: upstream.name, key, certificate, above, roots };
  const path = checkedUpstreamPath(parts, answer);
  // An authority below the root belongs to the chain even where the bundle holds it: others may trust the root alone.
  const chain = [...path, ...above.filter((one) => !path.some(({ der }) => isSame(one, der)))];
  return {
    ca: x509Ca({
      slot,
      key,
      certificate,
      chain: chain.filter((one) => !isSelfSigned(one)).map(({ der }) => der),
      issuedAt: now,
      upstreamVersion: version,
      ttlSeconds: caTtlSeconds,
    }),
    roots: upstreamRoots,
    issuer: path[1]?.der ?? certificate.der,
  };
}

/** A tainted root still verifies, but nothing new is to be signed below it. */
async function untainted(
  { bundles, trustDomain }: CaManagerParts,
  roots: readonly X509Authority[],
): Promise<readonly X509Authority[]> {
  const stored = (await bundles.find(trustDomain.name))?.x509Authorities ?? [];
  const tainted = [...stored, ...roots].filter((authority) => authority.tainted);
  return roots.filter(
    (root) =>
      !tainted.some(({ certificate }) => Buffer.compare(certificate, root.certificate) === 0),
  );
}

interface UpstreamAnswer {
  readonly name: string;
  readonly key: ManagedKey;
  readonly certificate: Certificate;
  readonly above: readonly Certificate[];
  readonly roots: readonly X509Authority[];
}

/**
 * An upstream's answer is checked like anybody's: our key, our trust domain, a chain to the roots it names.
 *
 * @returns the CA first, its root last
 */
function checkedUpstreamPath(
  parts: CaManagerParts,
  answer: UpstreamAnswer,
): readonly Certificate[] {
  const { name, key, certificate, above, roots } = answer;
  const refuse = (why: string): Error =>
    new Error(`upstream authority "${name}" returned an unusable CA: ${why}`);
  if (Buffer.compare(certificate.publicKeySpki, key.publicKeySpki) !== 0)
    throw refuse("it is for another key");
  if (!certificate.isCa) throw refuse("it is not a CA certificate");
  if (!certificate.uriSans.includes(parts.trustDomain.id))
    throw refuse(`it does not name ${parts.trustDomain.id}`);
  if (roots.length === 0)
    throw refuse("every root above it is tainted; give the upstream authority a new one");
  try {
    return verifyChainToRoot({
      leaf: certificate,
      intermediates: above,
      roots: roots.map((root) => Certificate.parse(root.certificate)),
      atSeconds: parts.clock.nowSeconds(),
      usage: "any",
    });
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
}

function isSame(certificate: Certificate, der: Uint8Array): boolean {
  return Buffer.compare(certificate.der, der) === 0;
}
