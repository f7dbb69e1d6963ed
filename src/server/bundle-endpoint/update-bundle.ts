import type { Clock } from "#clock/clock.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import type { Bundles } from "#server/datastore/datastore.ts";
import { type Bundle, sameBundle } from "#spiffe/bundle.ts";
import type { EndpointProfile, FederationRelationship } from "#spiffe/federation-relationship.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import type { EndpointProof } from "./connect.ts";

export interface UpdateParts {
  readonly bundles: Bundles;
  readonly policy: TlsPolicy;
  readonly clock: Clock;
}

/**
 * Fetches the bundle of a relationship and stores it if it is not the stored one.
 *
 * @param signal ends it; nothing is stored any more then
 * @returns the new bundle, or undefined when nothing changed
 * @throws StatusError UNAVAILABLE in the words of the reference, or what the store refused
 */
export async function updateBundle(
  { bundles, policy, clock }: UpdateParts,
  relationship: FederationRelationship,
  signal: AbortSignal,
): Promise<Bundle | undefined> {
  const { trustDomain, bundleEndpointUrl: url, profile } = relationship;
  const proof = await proofFor(bundles, profile);
  // Loaded by the servers that federate.
  const { fetchBundle } = await import("./fetch-bundle.ts");
  let fetched: Bundle;
  try {
    fetched = await fetchBundle({ trustDomain, url, proof, policy, clock, signal });
  } catch (error) {
    throw unavailable(`failed to fetch federated bundle from endpoint: ${errorText(error)}`, error);
  }
  const stored = await bundles.find(trustDomain.name);
  if (stored !== undefined && sameBundle(stored, fetched)) return undefined;
  signal.throwIfAborted();
  await bundles.set(fetched);
  return fetched;
}

/** SPIFFE Federation §5.2.2.4: the latest bundle of the endpoint's own trust domain verifies it, never that of another. */
async function proofFor(bundles: Bundles, profile: EndpointProfile): Promise<EndpointProof> {
  if (profile.kind === "https_web") return profile;
  const bundle = await bundles.find(profile.endpointSpiffeId.trustDomain.name);
  if (bundle === undefined) {
    throw unavailable("can't perform SPIFFE Authentication: local copy of bundle not found");
  }
  const roots = bundle.x509Authorities.map(({ certificate }) => Certificate.parse(certificate));
  return { ...profile, roots };
}

function unavailable(message: string, cause?: unknown): StatusError {
  return new StatusError(StatusCode.UNAVAILABLE, message, { cause });
}
