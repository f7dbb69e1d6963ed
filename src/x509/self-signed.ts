import type { Certificate } from "./certificate.ts";
import { type ChainRequest, verifyChain } from "./chain.ts";
import { isSoundAlgorithm, verifySignature } from "./signature.ts";

/**
 * Whether a certificate is a root by its own word: signed by itself. An old root may have a signature by SHA-1 or MD5, which counts
 * nowhere else; here nothing rests on it, since who trusts a root has it from elsewhere (RFC 5280 §6.1.1).
 */
export function isSelfSigned(one: Certificate): boolean {
  const { signatureAlgorithm, tbs, signature } = one;
  if (!one.isSelfIssued) return false;
  try {
    return (
      !isSoundAlgorithm(signatureAlgorithm) ||
      verifySignature(signatureAlgorithm, one.publicKey, tbs, signature)
    );
  } catch {
    return false;
  }
}

/**
 * Finds a path as verifyChain does, but one that ends at a self-signed root where there is one: a list of roots that holds the authorities
 * below them as well would otherwise end it too soon for whoever trusts the root alone.
 *
 * @returns leaf first, root last
 * @throws Error saying why there is none
 */
export function verifyChainToRoot(request: ChainRequest): Certificate[] {
  const { intermediates, roots } = request;
  const below = roots.filter((root) => !isSelfSigned(root));
  if (below.length === 0 || below.length === roots.length) return verifyChain(request);
  try {
    return verifyChain({
      ...request,
      intermediates: [...intermediates, ...below],
      roots: roots.filter((root) => !below.includes(root)),
    });
  } catch {
    return verifyChain(request);
  }
}
