/** Which keys of agent.conf count as soon as the file is read again. */

import { AGENT_PLUGINS } from "#agent/plugins.ts";
import { atStart, type KeyTable, live, pluginKeys } from "#config/reload.ts";
import type { AgentConfig } from "./config.ts";

export const AGENT_KEYS: KeyTable<AgentConfig> = {
  trustDomain: atStart("trust_domain"),
  serverAddress: atStart("server_address"),
  serverPort: atStart("server_port"),
  dataDir: atStart("data_dir"),
  socketPath: atStart("socket_path"),
  adminSocketPath: atStart("admin_socket_path"),
  joinWord: atStart("join"),
  joinFile: atStart("join_file"),
  authorityFingerprints: atStart("join"),
  joinToken: atStart("join_token"),
  joinTokenFile: atStart("join_token_file"),
  trustBundlePath: atStart("trust_bundle_path"),
  trustBundleUrl: atStart("trust_bundle_url"),
  trustBundleUnixSocket: atStart("trust_bundle_unix_socket"),
  trustBundleSpiffeSocket: atStart("trust_bundle_spiffe_workload_api"),
  trustBundleFormat: atStart("trust_bundle_format"),
  insecureBootstrap: atStart("insecure_bootstrap"),
  // It follows from those above.
  trustOnFirstUse: atStart("trust_bundle_path"),
  rebootstrapMode: atStart("rebootstrap_mode"),
  rebootstrapDelaySeconds: atStart("rebootstrap_delay"),
  workloadX509SvidKeyType: atStart("workload_x509_svid_key_type"),
  availabilityTargetSeconds: atStart("availability_target"),
  x509SvidCacheMaxSize: atStart("x509_svid_cache_max_size"),
  jwtSvidCacheMaxSize: atStart("jwt_svid_cache_max_size"),
  jwtSvidCacheHitTimeoutSeconds: atStart("experimental.jwt_svid_cache_hit_timeout"),
  syncIntervalSeconds: atStart("experimental.sync_interval"),
  tlsPolicy: atStart("experimental.require_pq_kem"),
  credentialsSocketPath: atStart("experimental.credentials_socket_path"),
  callRates: live("experimental.ratelimit"),
  offline: {
    disabled: atStart("experimental.disable_offline_cache"),
    directory: atStart("experimental.offline_cache_directory"),
  },
  disableWorkloadApi: atStart("disable_workload_api"),
  disableSdsApi: atStart("disable_sds_api"),
  authorizedDelegates: live("authorized_delegates"),
  sds: atStart("sds"),
  allowUnauthenticatedVerifiers: live("allow_unauthenticated_verifiers"),
  allowedForeignJwtClaims: live("allowed_foreign_jwt_claims"),
  logSelectors: live("log_selectors"),
  auditLogEnabled: live("audit_log_enabled"),
  log: { file: live("log_file"), level: live("log_level"), format: live("log_format") },
  plugins: pluginKeys(AGENT_PLUGINS),
  telemetry: atStart("telemetry"),
  healthChecks: atStart("health_checks"),
};
