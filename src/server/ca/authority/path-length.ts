import type { Bundle } from "#spiffe/bundle.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyChain } from "#x509/chain.ts";
import type { X509Ca } from "./authority.ts";

/**
 * Whether the path lengths of the CA and of all above it allow one more CA below (RFC 5280 §4.2.1.9); self-issued certificates do not count.
 *
 * @param atSeconds Unix seconds
 */
export function allowsCaBelow(ca: X509Ca, bundle: Bundle | undefined, atSeconds: number): boolean {
  const [leaf = ca.certificate, ...intermediates] = ca.chain.map((der) => Certificate.parse(der));
  const path = pathOf(leaf, intermediates, bundle, atSeconds);
  let below = 0;
  for (const { extensions, isSelfIssued } of path) {
    const limit = extensions.basicConstraints?.pathLength;
    if (limit !== undefined && below >= limit) return false;
    if (!isSelfIssued) below += 1;
  }
  return true;
}

function pathOf(
  leaf: Certificate,
  intermediates: readonly Certificate[],
  bundle: Bundle | undefined,
  atSeconds: number,
): readonly Certificate[] {
  const roots = (bundle?.x509Authorities ?? []).map(({ certificate }) =>
    Certificate.parse(certificate),
  );
  try {
    return verifyChain({ leaf, intermediates, roots, atSeconds, usage: "any" });
  } catch {
    // A root that left the bundle meanwhile limits nothing.
    return [leaf, ...intermediates];
  }
}
