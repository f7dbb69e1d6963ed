import { expect, test } from "bun:test";
import { rpcKey } from "./rpc-key.ts";

test.each([
  ["/spire.api.server.agent.v1.Agent/AttestAgent", "rpc agent v1 agent attest_agent"],
  ["/spire.api.server.svid.v1.SVID/BatchNewX509SVID", "rpc svid v1 svid batch_new_x509svid"],
  ["/spire.api.server.svid.v1.SVID/NewJWTSVID", "rpc svid v1 svid new_jwtsvid"],
  ["/spire.api.server.svid.v1.SVID/NewDownstreamX509CA", "rpc svid v1 svid new_downstream_x509ca"],
  ["/spire.api.server.logger.v1.Logger/SetLogLevel", "rpc logger set_log_level"],
  ["/SpiffeWorkloadAPI/FetchX509SVID", "rpc workload_api fetch_x509svid"],
  ["/SpiffeWorkloadAPI/FetchJWTBundles", "rpc workload_api fetch_jwt_bundles"],
  ["/grpc.health.v1.Health/Check", "rpc health check"],
  [
    "/spire.api.agent.delegatedidentity.v1.DelegatedIdentity/SubscribeToX509SVIDs",
    "rpc delegated_identity subscribe_to_x509_svids",
  ],
])("%s is counted as %s", (method, key) => {
  expect(rpcKey(method).join(" ")).toBe(key);
});
