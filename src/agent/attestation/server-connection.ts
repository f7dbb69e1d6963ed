/** The agent's connection to the server: it verifies the server itself, and is made anew when the agent's SVID or the bundle changes. */
import { hostname } from "node:os";
import type { Clock } from "#clock/clock.ts";
import type { Channel } from "#grpc/client.ts";
import { nodeAgent } from "#grpc/node-agent.ts";
import { type ClientIdentity, type ServerAddress, serverChannel } from "#grpc/server-channel.ts";
import { AgentClient } from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { EntryClient } from "#proto/spire/api/server/entry/v1/entry.ts";
import { SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import { ChangesClient } from "#proto/spire_edge/changes/v1/changes.ts";

/** A stream without news would not notice that the network is gone; sent only while a call is under way. */
const KEEPALIVE = { "grpc.keepalive_time_ms": 30_000, "grpc.keepalive_timeout_ms": 10_000 };

export interface ServerClients {
  readonly changes: ChangesClient;
  readonly agent: AgentClient;
  readonly bundle: BundleClient;
  readonly entry: EntryClient;
  readonly svid: SVIDClient;
  close(): void;
}

/**
 * Prepares the clients; nothing connects before the first call.
 *
 * @param roots the X.509 authorities to verify the server with, DER
 * @param attestors the names of the agent's workload attestors, for the server's operator to read
 */
export function connectServer(
  address: ServerAddress,
  roots: readonly Uint8Array[],
  identity: ClientIdentity | undefined,
  clock: Clock,
  attestors: readonly string[] = [],
): ServerClients {
  const channel = serverChannel(address, roots, identity, clock);
  // Who has no SVID yet has perhaps not made sure of its server either.
  const told =
    identity === undefined
      ? {}
      : { "grpc.primary_user_agent": nodeAgent({ hostName: hostname(), attestors }) };
  return clientsOf({ ...channel, options: { ...channel.options, ...KEEPALIVE, ...told } });
}

function clientsOf({ address, credentials, options }: Channel): ServerClients {
  const agent = new AgentClient(address, credentials, options);
  const shared = { ...options, channelOverride: agent.getChannel() };
  const clients = {
    agent,
    changes: new ChangesClient(address, credentials, shared),
    bundle: new BundleClient(address, credentials, shared),
    entry: new EntryClient(address, credentials, shared),
    svid: new SVIDClient(address, credentials, shared),
  };
  return { ...clients, close: () => agent.close() };
}
