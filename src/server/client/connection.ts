/** The services of a server's administration API, over its socket. Loaded when a command first needs the server. */
import {
  CONNECT_TIMEOUT_MS,
  openServices,
  type Service,
  type StreamService,
} from "#cli/api-service.ts";
import { type Health, healthOf } from "#cli/health.ts";
import { AgentClient } from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { DebugClient } from "#proto/spire/api/server/debug/v1/debug.ts";
import { EntryClient } from "#proto/spire/api/server/entry/v1/entry.ts";
import { LocalAuthorityClient } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { LoggerClient } from "#proto/spire/api/server/logger/v1/logger.ts";
import { SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import { TrustDomainClient } from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import { CAClient } from "#proto/spire_edge/ca/v1/ca.ts";
import { DeclaredEntriesClient } from "#proto/spire_edge/declared/v1/declared.ts";
import { JoinTokenClient } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { NodesClient } from "#proto/spire_edge/node/v1/node.ts";

/** Far more than anything takes that the server does while a command waits, such as applying all entries of a large fleet. */
const ANSWER_TIMEOUT_MS = 300_000;

export interface ServerConnection {
  readonly agent: Service<AgentClient>;
  readonly bundle: Service<BundleClient>;
  readonly ca: Service<CAClient>;
  readonly debug: Service<DebugClient>;
  readonly declared: Service<DeclaredEntriesClient>;
  readonly declaredEntries: StreamService<DeclaredEntriesClient>;
  readonly entry: Service<EntryClient>;
  readonly health: () => Promise<Health>;
  readonly joinToken: Service<JoinTokenClient>;
  readonly logger: Service<LoggerClient>;
  readonly localAuthority: Service<LocalAuthorityClient>;
  readonly nodes: Service<NodesClient>;
  readonly svid: Service<SVIDClient>;
  readonly trustDomain: Service<TrustDomainClient>;
  close(): void;
}

/**
 * Prepares the connection; nothing connects before the first call.
 *
 * @param timeoutMs how long an answer may take; undefined for as long as a command waits at most
 * @param owner where nobody named the path: the user who may listen there, beside root and this one
 */
export function connectServer(
  path: string,
  timeoutMs: number = ANSWER_TIMEOUT_MS,
  owner?: string,
): ServerConnection {
  const services = openServices({
    path,
    owner,
    daemon: {
      kind: "server",
      program: "spire-server",
      whenSilent: "spire-server is starting, or stuck; its log may say why",
    },
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    timeoutMs,
  });
  return {
    agent: services.of(AgentClient).call,
    bundle: services.of(BundleClient).call,
    ca: services.of(CAClient).call,
    debug: services.of(DebugClient).call,
    declared: services.of(DeclaredEntriesClient).call,
    declaredEntries: services.of(DeclaredEntriesClient).stream,
    entry: services.of(EntryClient).call,
    health: healthOf(services),
    joinToken: services.of(JoinTokenClient).call,
    logger: services.of(LoggerClient).call,
    localAuthority: services.of(LocalAuthorityClient).call,
    nodes: services.of(NodesClient).call,
    svid: services.of(SVIDClient).call,
    trustDomain: services.of(TrustDomainClient).call,
    close: () => services.close(),
  };
}
