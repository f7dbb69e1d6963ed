/** Starts both sides of federation: the endpoint where others fetch this server's bundle, and the pollers that fetch theirs. */
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { TlsIdentity } from "#grpc/tls-listener.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import type { Log } from "#log/log.ts";
import type { FederationConfig } from "#server/config/federation.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { ownBundleDocument } from "./bundle-endpoint/document.ts";
import type { BundleEndpoint } from "./bundle-endpoint/endpoint.ts";
import { BundleRefresher } from "./bundle-endpoint/refresher.ts";
import {
  loadServingCertificate,
  watchServingCertificate,
} from "./bundle-endpoint/serving-certificate.ts";
import type { DataStore } from "./datastore/datastore.ts";

export interface FederationParts {
  readonly trustDomain: TrustDomain;
  /** As it is at this moment. */
  readonly config: () => FederationConfig;
  readonly store: DataStore;
  readonly policy: TlsPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Starts to fetch the bundles of federated trust domains; even without any in the configuration, as operators may add them. */
export function startBundleRefresher(parts: FederationParts): BundleRefresher {
  const log = parts.log.with({ subsystem_name: "bundle_client" });
  return new BundleRefresher({ ...parts, configured: () => parts.config().federatesWith, log });
}

/** The bundle endpoint, or none: then nothing happens. */
export interface ShownBundleEndpoint {
  /** Takes each new SVID of the server. */
  show(identity: TlsIdentity): void;
  /** Reads the certificate of an https_web endpoint again. */
  lookNow(): Promise<void>;
}

/**
 * Opens the bundle endpoint, if there is to be one.
 *
 * @param serverIdentity the server's SVID, which an https_spiffe endpoint shows
 * @param stack closes it
 * @throws Error with a message for the operator
 */
export async function startBundleEndpoint(
  { trustDomain, config, store, policy, clock, log: serverLog }: FederationParts,
  serverIdentity: TlsIdentity,
  stack: AsyncDisposableStack,
): Promise<ShownBundleEndpoint> {
  const settings = config().bundleEndpoint;
  if (settings === undefined) return { show: () => {}, lookNow: async () => {} };
  const { address: host, port, refreshHintSeconds, servingCertificate: files } = settings;
  const log = serverLog.with({ subsystem_name: "bundle_endpoint" });
  const { serveBundleEndpoint } = await import("./bundle-endpoint/endpoint.ts");
  const document = ownBundleDocument(store, trustDomain, refreshHintSeconds);
  const serve = async (identity: TlsIdentity): Promise<BundleEndpoint> => {
    const endpoint = await serveBundleEndpoint({
      host,
      port,
      identity,
      policy,
      document,
      clock,
      log,
    });
    stack.defer(() => endpoint.close());
    log.info("Serving bundle endpoint", {
      addr: endpoint.address,
      refresh_hint: `${refreshHintSeconds}s`,
    });
    return endpoint;
  };
  if (files === undefined) {
    const endpoint = await serve(serverIdentity);
    return { show: (identity) => endpoint.setIdentity(identity), lookNow: async () => {} };
  }
  const loaded = await loadServingCertificate(files);
  const endpoint = await serve(loaded);
  const show = (identity: TlsIdentity): void => endpoint.setIdentity(identity);
  const watch = watchServingCertificate(files, loaded, show, { clock, log });
  stack.defer(() => watch.stop());
  return { show: () => {}, lookNow: watch.lookNow };
}
