/**
 * Judges a CA certificate that somebody signed by hand. Nobody but the operator vouches for what is in the files, so everything that
 * would show at the first workload is found here, and a certificate that is not of use is refused whole, in words for the signer.
 */

import type { ManagedKey } from "#keymanager/key-manager.ts";
import type { X509Ca } from "#server/ca/authority/authority.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import { checkSvid } from "#server/ca/profile/lint.ts";
import { svidSubjectDer } from "#server/ca/profile/profile.ts";
import { issueX509Svid } from "#server/ca/signing/issue.ts";
import { serverId } from "#spiffe/reserved-id.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { KeyUsage } from "#x509/extensions.ts";
import { isoTime } from "#x509/iso-time.ts";
import { subjectKeyIdOf } from "#x509/issue.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { Oid } from "#x509/oid.ts";
import { isSelfSigned, verifyChainToRoot } from "#x509/self-signed.ts";
import { isSoundAlgorithm, publicKeyProblem } from "#x509/signature.ts";
import { verifyX509Svid } from "#x509/svid.ts";

/** Far above any chain of use; it bounds the work. */
const MAX_CERTIFICATES = 20;

/** What came back from the signer, DER. */
export interface SignedAnswer {
  readonly certificates: readonly Uint8Array[];
  readonly roots: readonly Uint8Array[];
}

export interface AcceptanceRules {
  /** The key of the request that waits. */
  readonly key: ManagedKey;
  /** The roots that alone may stand above; undefined leaves that to the operator. */
  readonly anchors: readonly Uint8Array[] | undefined;
  /** The roots of the trust bundle, DER, and which of them are tainted. */
  readonly known: readonly { readonly certificate: Uint8Array; readonly tainted: boolean }[];
  /** Unix seconds: when the CA that signs now ends; undefined without one. */
  readonly activeEndsAt: number | undefined;
  /** Unix seconds. */
  readonly now: number;
}

/** The CA first, its root last. */
export type CaPath = readonly [ca: Certificate, ...above: Certificate[], root: Certificate];

/**
 * Finds the certificate for the key, and a path from it to a root that counts.
 *
 * @throws StatusError INVALID_ARGUMENT saying what is wrong
 */
export function acceptedPath(
  { trustDomain }: Pick<CaManagerParts, "trustDomain">,
  answer: SignedAnswer,
  rules: AcceptanceRules,
): CaPath {
  const certificates = parsed(answer.certificates, "certificate");
  const ca = certificateForKey(certificates, rules.key);
  checkCa(ca, trustDomain.id);
  const roots = trustedRoots(certificates, parsed(answer.roots, "root"), rules);
  checkBeginning(ca, rules);
  const path = pathOf(ca, certificates, roots, rules);
  path.forEach(checkPurpose);
  checkKeyIds(path);
  checkEnd(path);
  return path;
}

/**
 * Signs an SVID as a trial and verifies it as any workload would, so that limits above the CA (path lengths, name constraints) show now.
 * The SVID and its key leave this function never.
 *
 * @throws StatusError INVALID_ARGUMENT saying why SVIDs of this CA would not verify
 */
export async function tryOut(parts: CaManagerParts, ca: X509Ca, path: CaPath): Promise<void> {
  const { trustDomain, random } = parts;
  const key = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  const id = serverId(trustDomain);
  const { notBefore, notAfter } = ca.certificate;
  const request = {
    id,
    publicKeySpki: key.publicKeySpki,
    subjectDer: svidSubjectDer(undefined, []),
    dnsNames: [],
    notBefore,
    notAfter,
  };
  try {
    const svid = await issueX509Svid(checkSvid(request, trustDomain, notAfter), ca, random);
    const root = path[path.length - 1] as Certificate;
    const atSeconds = Math.max(parts.clock.nowSeconds(), notBefore);
    verifyX509Svid(svid.chain, () => [root], atSeconds);
  } catch (error) {
    throw refusal(`SVIDs that it signs would not verify: ${errorText(error)}`);
  }
}

function parsed(ders: readonly Uint8Array[], what: string): Certificate[] {
  if (ders.length > MAX_CERTIFICATES) {
    throw refusal(`more than ${MAX_CERTIFICATES} certificates were given`);
  }
  return ders.map((der, index) => {
    try {
      return Certificate.parse(der);
    } catch (error) {
      throw refusal(`${what} ${index + 1} cannot be read: ${errorText(error)}`);
    }
  });
}

function certificateForKey(certificates: readonly Certificate[], key: ManagedKey): Certificate {
  const [first] = certificates;
  if (first === undefined) throw refusal("no certificate was given");
  const found = certificates.find(
    ({ publicKeySpki }) => Buffer.compare(publicKeySpki, key.publicKeySpki) === 0,
  );
  if (found !== undefined) return found;
  throw refusal(
    `it is for another key than the pending request's: ${named(first)} was not signed for what "spire-server ca csr" shows now`,
  );
}

/** What the certificate says of itself (X509-SVID §2, §4; RFC 5280 §4.1.2.6, §4.2.1.3, §4.2.1.9). */
function checkCa(ca: Certificate, trustDomainId: string): void {
  const { keyUsage } = ca.extensions;
  if (!ca.isCa) {
    throw refusal(
      "it is not a CA certificate: have it signed with the basic constraints critical, CA:TRUE",
    );
  }
  if (keyUsage === undefined || (keyUsage & KeyUsage.keyCertSign) === 0) {
    throw refusal("it may not sign certificates: its key usage must hold keyCertSign and cRLSign");
  }
  const [uri, ...more] = ca.uriSans;
  // A signing certificate may be without a SPIFFE ID; one that it has is its trust domain's, without a path (X509-SVID §2, SPIFFE-ID §3.1).
  if ((uri !== undefined && uri !== trustDomainId) || more.length > 0) {
    const shown = ca.uriSans.map((one) => JSON.stringify(one)).join(", ");
    throw refusal(`its URI SAN is ${shown}; it must be "${trustDomainId}" alone, or none`);
  }
  if (ca.subjectText === "")
    throw refusal("it has no subject, so that nothing can name its issuer");
  if (ca.isSelfIssued) {
    throw refusal("it has the subject of its issuer; verifiers would take it for a root");
  }
}

/** What each certificate of the path must be for SVIDs below it to verify everywhere. */
function checkPurpose(certificate: Certificate): void {
  const { extKeyUsage } = certificate.extensions;
  const isEnough =
    extKeyUsage.length === 0 ||
    extKeyUsage.includes(Oid.anyExtendedKeyUsage) ||
    [Oid.serverAuth, Oid.clientAuth].every((purpose) => extKeyUsage.includes(purpose));
  if (isEnough) return;
  // Go and OpenSSL hold an extended key usage of a CA against everything below it.
  throw refusal(
    `the extended key usage of ${named(certificate)} leaves out serverAuth or clientAuth, which every SVID is for; leave the extension away`,
  );
}

/** By these operators and verifiers tell CAs apart (RFC 5280 §4.2.1.1, §4.2.1.2); a root without its own has the usual one. */
function checkKeyIds([ca, issuer]: CaPath): void {
  const { subjectKeyId, authorityKeyId } = ca.extensions;
  if (subjectKeyId === undefined || authorityKeyId === undefined) {
    throw refusal("it needs a subject key identifier and an authority key identifier");
  }
  const issuerId = issuer.extensions.subjectKeyId ?? subjectKeyIdOf(issuer.publicKeySpki);
  if (Buffer.compare(authorityKeyId, issuerId) === 0) return;
  throw refusal(`its authority key identifier is not the key of its issuer ${named(issuer)}`);
}

/** The configuration's roots if it has any; otherwise those the operator gives, and those that the trust bundle has already. */
function trustedRoots(
  certificates: readonly Certificate[],
  given: readonly Certificate[],
  { anchors, known }: AcceptanceRules,
): Certificate[] {
  for (const root of given) {
    checkKey(root);
    if (!isSelfSigned(root)) {
      throw refusal(`${named(root)} was given as a root, but is not self-signed`);
    }
    if (anchors !== undefined && !anchors.some((anchor) => isSame(anchor, root))) {
      throw refusal(`the root ${named(root)} is not in root_cert_path`);
    }
  }
  const roots =
    anchors === undefined
      ? [
          ...given,
          ...certificates.filter(isSelfSigned),
          ...known.map(({ certificate }) => Certificate.parse(certificate)),
        ]
      : anchors.map((der) => Certificate.parse(der));
  if (roots.length === 0) {
    throw refusal("no root was given: name it with -root, or set root_cert_path");
  }
  // By its key: the same authority may have other certificates, or the same one under another signature.
  const tainted = known
    .filter((authority) => authority.tainted)
    .map(({ certificate }) => Certificate.parse(certificate));
  const sound = roots.filter((root) => !tainted.some((one) => hasSameKey(one, root)));
  if (sound.length === 0) {
    throw refusal("every root is tainted; nothing new is to be below one that is");
  }
  return sound;
}

/** Said by itself: a signature by a key that is not supported looks like none. */
function checkKey(root: Certificate): void {
  let problem: string | undefined;
  try {
    problem = publicKeyProblem(root.publicKey);
  } catch {
    problem = "it is of a kind that is not supported";
  }
  if (problem !== undefined) throw refusal(`key of the root ${named(root)}: ${problem}`);
}

/** A certificate may begin later, as long as the CA that signs now lasts until then. */
function checkBeginning({ notBefore }: Certificate, { activeEndsAt }: AcceptanceRules): void {
  if (activeEndsAt !== undefined && notBefore > activeEndsAt) {
    throw refusal(
      `it begins at ${isoTime(notBefore)}, after the CA that signs now has ended at ${isoTime(activeEndsAt)}`,
    );
  }
}

function pathOf(
  ca: Certificate,
  certificates: readonly Certificate[],
  roots: readonly Certificate[],
  { now }: AcceptanceRules,
): CaPath {
  const intermediates = certificates.filter((one) => one !== ca && !isSelfSigned(one));
  const unsound = [ca, ...intermediates].find(
    ({ signatureAlgorithm }) => !isSoundAlgorithm(signatureAlgorithm),
  );
  if (unsound !== undefined) {
    throw refusal(
      `${named(unsound)} is signed with an algorithm that is weak or not supported (${unsound.signatureAlgorithm}); use SHA-256 or better`,
    );
  }
  try {
    const atSeconds = Math.max(now, ca.notBefore);
    const path = verifyChainToRoot({ leaf: ca, intermediates, roots, atSeconds, usage: "any" });
    return path as unknown as CaPath;
  } catch (error) {
    throw refusal(`it leads to no root that counts: ${errorText(error)}`);
  }
}

/** What a CA signs is to verify until the CA ends, so all above it must last as long (RFC 5280 §6.1.3). */
function checkEnd([ca, ...above]: CaPath): void {
  const sooner = above.find(({ notAfter }) => notAfter < ca.notAfter);
  if (sooner === undefined) return;
  throw refusal(
    `it ends at ${isoTime(ca.notAfter)}, but ${named(sooner)} above it ends at ${isoTime(sooner.notAfter)} already; have it signed for less time`,
  );
}

function isSame(der: Uint8Array, certificate: Certificate): boolean {
  return Buffer.compare(der, certificate.der) === 0;
}

function hasSameKey(one: Certificate, other: Certificate): boolean {
  return Buffer.compare(one.publicKeySpki, other.publicKeySpki) === 0;
}

function named({ subjectText }: Certificate): string {
  return JSON.stringify(subjectText);
}

function refusal(why: string): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, `the CA certificate is refused: ${why}`);
}
