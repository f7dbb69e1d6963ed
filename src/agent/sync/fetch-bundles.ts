/** The trust bundles this agent hands out: its own trust domain's, and those its entries federate with. */
import { callUnary } from "#grpc/client.ts";
import type { BundleClient } from "#grpc/gen/spire/api/server/bundle/v1/bundle.ts";
import type { Bundle as BundleMessage } from "#grpc/gen/spire/api/types/bundle.ts";
import type { Log } from "#log/log.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { splitCertificates } from "#x509/der.ts";

const TIMEOUT_MS = 30_000;
/** Calls at a time: one bundle that hangs must not hold up the others. */
const CONCURRENCY = 8;

/** Our own bundle. @throws StatusError */
export async function fetchOwnBundle(client: BundleClient): Promise<Bundle> {
  return bundleOf(
    await callUnary(client, "getBundle", { outputMask: undefined }, { timeoutMs: TIMEOUT_MS }),
  );
}

/** The federated bundles of those names; one that cannot be had is logged and left out. */
export async function fetchFederatedBundles(
  client: BundleClient,
  trustDomains: ReadonlySet<string>,
  log: Log,
): Promise<ReadonlyMap<string, Bundle>> {
  const found = new Map<string, Bundle>();
  const names = [...trustDomains];
  const work = async (): Promise<void> => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      try {
        const request = { trustDomain: name, outputMask: undefined };
        found.set(
          name,
          bundleOf(
            await callUnary(client, "getFederatedBundle", request, { timeoutMs: TIMEOUT_MS }),
          ),
        );
      } catch (error) {
        const missing = error instanceof StatusError && error.code === StatusCode.NOT_FOUND;
        log.warn(missing ? "Federated bundle not found" : "Federated bundle could not be fetched", {
          trust_domain_id: name,
          error,
        });
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return found;
}

function bundleOf(message: BundleMessage): Bundle {
  return {
    trustDomain: TrustDomain.parse(message.trustDomain),
    x509Authorities: message.x509Authorities.flatMap(({ asn1, tainted }) =>
      splitCertificates(asn1).map((certificate) => ({ certificate, tainted })),
    ),
    jwtAuthorities: message.jwtAuthorities.map(({ keyId, publicKey, expiresAt, tainted }) => ({
      keyId,
      publicKey,
      expiresAt,
      tainted,
    })),
    refreshHint: message.refreshHint,
    sequenceNumber: message.sequenceNumber,
  };
}
