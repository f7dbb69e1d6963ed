/** Which keys of server.conf count as soon as the file is read again. */
import { atStart, type KeyTable, live, pluginKeys } from "#config/reload.ts";
import { SERVER_PLUGINS } from "#server/plugins.ts";
import type { ServerConfig } from "./config.ts";

export const SERVER_KEYS: KeyTable<ServerConfig> = {
  trustDomain: atStart("trust_domain"),
  dataDir: atStart("data_dir"),
  bindAddress: atStart("bind_address"),
  bindPort: atStart("bind_port"),
  trustedProxies: atStart("proxy_protocol_trusted_cidrs"),
  socketPath: atStart("socket_path"),
  joinAddress: atStart("join_address"),
  entriesDir: atStart("entries_dir"),
  adminIds: live("admin_ids"),
  agentTtlSeconds: live("agent_ttl"),
  auditLogEnabled: live("audit_log_enabled"),
  auditLogReads: live("audit_log_reads"),
  caKeyType: atStart("ca_key_type"),
  jwtKeyType: atStart("jwt_key_type"),
  caSubject: live("ca_subject"),
  caTtlSeconds: live("ca_ttl"),
  defaultX509SvidTtlSeconds: live("default_x509_svid_ttl"),
  defaultJwtSvidTtlSeconds: live("default_jwt_svid_ttl"),
  disableJwtSvids: atStart("disable_jwt_svids"),
  jwtIssuer: live("jwt_issuer"),
  log: { file: live("log_file"), level: live("log_level"), format: live("log_format") },
  nodePruning: atStart("prune_attested_nodes_expired_for and what goes with it"),
  rateLimit: { attestation: live("ratelimit.attestation"), signing: live("ratelimit.signing") },
  experimental: {
    agentSpiffeIdAsSelector: atStart("experimental.agent_spiffe_id_as_selector"),
    requirePqKem: atStart("experimental.require_pq_kem"),
    witSvids: atStart("experimental.feature_flags, wit_key_type or wit_issuer"),
  },
  federation: {
    bundleEndpoint: atStart("federation.bundle_endpoint"),
    federatesWith: live("federation.federates_with"),
  },
  plugins: pluginKeys(SERVER_PLUGINS),
  telemetry: atStart("telemetry"),
  healthChecks: atStart("health_checks"),
};
