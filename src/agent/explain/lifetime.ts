/** Why an X509-SVID ends when it does, as far as it can be told from the SVID and its entry. */
import type { Identity } from "#agent/cache/subscription.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import {
  X509Svid_Limit as Limit,
  type X509Svid as X509SvidMessage,
} from "#proto/spire_edge/explain/v1/explain.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { Certificate } from "#x509/certificate.ts";

/** So much before they are issued SVIDs begin, of SPIRE's servers as well. */
const CUSHION_SECONDS = 10;

/** @param bundle of the trust domain, which has the authority where the SVID's chain does not */
export function lifetimeOf(
  { x509SvidTtl }: WorkloadEntry,
  svid: Identity["svid"],
  bundle: Bundle | undefined,
): Pick<X509SvidMessage, "lifetime" | "limit"> {
  if (svid === undefined) return { lifetime: 0, limit: Limit.UNKNOWN };
  const [leaf, ...above] = svid.chain.map((der) => Certificate.parse(der));
  if (leaf === undefined) return { lifetime: 0, limit: Limit.UNKNOWN };
  const lifetime = leaf.notAfter - leaf.notBefore - CUSHION_SECONDS;
  // No server has an SVID outlive what signed it; one that ends with it was cut.
  const isCut = [...above, ...authoritiesOf(leaf, bundle)].some(
    ({ notAfter }) => notAfter <= leaf.notAfter,
  );
  if (isCut) return { lifetime, limit: Limit.AUTHORITY };
  return { lifetime, limit: x509SvidTtl > 0 ? Limit.ENTRY : Limit.SERVER_DEFAULT };
}

/** Those of the bundle that may have signed it: a self-signed CA is in no chain. */
function authoritiesOf(
  { issuerDer, extensions: { authorityKeyId } }: Certificate,
  bundle: Bundle | undefined,
): readonly Certificate[] {
  const all = bundle?.x509Authorities ?? [];
  return all
    .map(({ certificate }) => Certificate.parse(certificate))
    .filter(
      ({ subjectDer, extensions: { subjectKeyId } }) =>
        Buffer.compare(subjectDer, issuerDer) === 0 &&
        Buffer.compare(subjectKeyId ?? new Uint8Array(), authorityKeyId ?? new Uint8Array()) === 0,
    );
}
