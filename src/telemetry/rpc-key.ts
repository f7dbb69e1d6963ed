import { countCall, type MetricKey, type Metrics, statusName } from "./metrics.ts";

/** Services that have a shorter name in metrics than on the wire. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  SpiffeWorkloadAPI: "WorkloadAPI",
  "envoy.service.secret.v3.SecretDiscoveryService": "SDS.v3",
  "grpc.health.v1.Health": "Health",
  "spire.api.server.logger.v1.Logger": "Logger",
  "spire.api.agent.logger.v1.Logger": "Logger",
  "spire.agent.debug.v1.Debug": "Debug",
  "spire.api.agent.delegatedidentity.v1.DelegatedIdentity": "DelegatedIdentity",
};

/** The one method whose name the rule below would spell differently from the reference. */
const SUBSCRIBE_TO_X509_SVIDS = "SubscribeToX509SVIDs";

/** What was made before: a program has few methods, and counts every call. */
const known = new Map<string, MetricKey>();

/**
 * The key of an RPC's call counter, as the reference makes it: `rpc agent v1 agent attest_agent`.
 *
 * @param method of a service that is served, as on the wire, `/package.Service/Method`
 */
export function rpcKey(method: string): MetricKey {
  let key = known.get(method);
  if (key === undefined) {
    key = makeKey(method);
    known.set(method, key);
  }
  return key;
}

function makeKey(method: string): MetricKey {
  const [, service = "", name = ""] = method.split("/");
  const short = Object.hasOwn(SHORT_NAMES, service)
    ? (SHORT_NAMES[service] ?? "")
    : service.replace("spire.api.server.", "");
  const last = name === SUBSCRIBE_TO_X509_SVIDS ? "subscribe_to_x509_svids" : snakeCase(name);
  return ["rpc", ...short.split(".").map(snakeCase), last];
}

/** Counts RPCs that have ended. */
export function rpcCounter(
  metrics: Metrics,
): (method: string, error: unknown, elapsedMs: number) => void {
  return (method, error, elapsedMs) =>
    countCall(metrics, rpcKey(method), error === undefined ? "OK" : statusName(error), elapsedMs);
}

/** A word starts at a capital that has a small letter beside it: `FetchX509SVID` is fetch_x509svid. */
function snakeCase(name: string): string {
  return name
    .replace(/(?<=[a-z])[A-Z]|(?<!^|_)[A-Z](?=[a-z])/g, "_$&")
    .replace(/[^A-Za-z0-9_]/g, "_")
    .toLowerCase();
}
