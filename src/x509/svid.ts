/** X509-SVIDs: what makes a chain of certificates an identity (X509-SVID §2-5). */
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "./certificate.ts";
import { verifyChain } from "./chain.ts";
import { KeyUsage } from "./extensions.ts";

/** Leaf and intermediates; more than this nobody sends in earnest. */
const MAX_CHAIN_LENGTH = 10;

export interface X509SvidChain {
  readonly id: SpiffeId;
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
}

/**
 * Reads a chain, leaf first, and checks what the standard demands of each certificate. Nothing is verified yet.
 *
 * @throws Error
 */
export function parseX509SvidChain(chain: readonly Uint8Array[]): X509SvidChain {
  if (chain.length > MAX_CHAIN_LENGTH) throw new Error("certificate chain is too long");
  const [leaf, ...intermediates] = chain.map((one) => Certificate.parse(one));
  if (leaf === undefined) throw new Error("certificate chain is empty");
  const id = leafId(leaf);
  checkLeaf(leaf);
  for (const intermediate of intermediates) checkIntermediate(intermediate);
  return { id, leaf, intermediates };
}

/**
 * Verifies an X509-SVID against the bundle of the trust domain it names.
 *
 * @param rootsOf the authorities of a trust domain, or undefined when there is no bundle
 * @param atSeconds Unix seconds
 * @throws Error saying why it does not verify
 */
export function verifyX509Svid(
  chain: readonly Uint8Array[],
  rootsOf: (trustDomain: TrustDomain) => readonly Certificate[] | undefined,
  atSeconds: number,
): { readonly id: SpiffeId; readonly leaf: Certificate; readonly chain: readonly Certificate[] } {
  const { id, leaf, intermediates } = parseX509SvidChain(chain);
  const roots = rootsOf(id.trustDomain);
  if (roots === undefined) throw new Error(`no bundle for trust domain "${id.trustDomain}"`);
  const path = verifyChain({ leaf, intermediates, roots, atSeconds, usage: "any" });
  return { id, leaf, chain: path };
}

/** X509-SVID §2: exactly one URI SAN, and it is a SPIFFE ID; a leaf names a workload, so its path is not empty (§4.1). */
function leafId(leaf: Certificate): SpiffeId {
  const [uri, ...more] = leaf.uriSans;
  if (uri === undefined) throw new Error("certificate has no URI SAN");
  if (more.length > 0) throw new Error("certificate has more than one URI SAN");
  const id = SpiffeId.parse(uri);
  if (id.path === "")
    throw new Error(`leaf certificate names a trust domain, not a workload: "${uri}"`);
  return id;
}

function checkLeaf(leaf: Certificate): void {
  const { keyUsage } = leaf.extensions;
  // X509-SVID §4.1 and §4.3.
  if (leaf.isCa) throw new Error("leaf certificate must not have the CA flag set");
  if (keyUsage === undefined) throw new Error("leaf certificate must have a key usage");
  if ((keyUsage & KeyUsage.digitalSignature) === 0) {
    throw new Error("leaf certificate must have the key usage 'digitalSignature'");
  }
  if ((keyUsage & KeyUsage.keyCertSign) !== 0) {
    throw new Error("leaf certificate must not have the key usage 'keyCertSign'");
  }
  if ((keyUsage & KeyUsage.cRLSign) !== 0) {
    throw new Error("leaf certificate must not have the key usage 'cRLSign'");
  }
}

function checkIntermediate(certificate: Certificate): void {
  const { keyUsage } = certificate.extensions;
  if (!certificate.isCa) throw new Error("signing certificate must have the CA flag set");
  if (keyUsage !== undefined && (keyUsage & KeyUsage.keyCertSign) === 0) {
    throw new Error("signing certificate must have the key usage 'keyCertSign'");
  }
  // X509-SVID §2: a signing certificate may carry one SPIFFE ID; X509-SVID §3.2: then without a path.
  const ids = certificate.uriSans.filter((uri) => uri.startsWith("spiffe://"));
  if (ids.length > 1) throw new Error("signing certificate has more than one SPIFFE ID");
}
