/** The Workload API and the health of an agent, over its socket. Loaded when a command first needs the agent; the writer of SVID files has it too. */
import { Metadata } from "@grpc/grpc-js";
import { openServices, type Service, type StreamService } from "#cli/api-service.ts";
import { type Health, healthOf } from "#cli/health.ts";
import type { Daemon } from "#cli/rpc-error.ts";
import { SpiffeWorkloadAPIClient } from "#proto/spiffe/workload/workload.ts";
import { ExplainClient } from "#proto/spire_edge/explain/v1/explain.ts";

/** As messages call it. */
export const AGENT: Daemon = {
  kind: "agent",
  program: "spire-agent",
  whenSilent: "spire-agent is stuck, or has not joined its server yet; its log may say why",
};

export interface AgentConnection {
  readonly explain: Service<ExplainClient>;
  readonly health: () => Promise<Health>;
  readonly workload: {
    readonly call: Service<SpiffeWorkloadAPIClient>;
    readonly stream: StreamService<SpiffeWorkloadAPIClient>;
  };
  close(): void;
}

/**
 * Prepares the connection; nothing connects before the first call.
 *
 * @param timeoutMs how long an answer may take; undefined waits for ever
 * @param owner where nobody named the path: the user who may listen there, beside root and this one
 */
export function connectAgent(
  path: string,
  timeoutMs: number | undefined,
  owner?: string,
): AgentConnection {
  const metadata = new Metadata();
  // SPIFFE Workload API §4.3: every request carries this, so that no browser or proxy can be talked into making one.
  metadata.set("workload.spiffe.io", "true");
  const services = openServices({
    path,
    owner,
    daemon: AGENT,
    metadata,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  return {
    explain: services.of(ExplainClient).call,
    health: healthOf(services),
    workload: services.of(SpiffeWorkloadAPIClient),
    close: () => services.close(),
  };
}

/** The first answer of a stream, which is then ended. @throws Error when there is none */
export async function firstAnswer<T>(answers: AsyncIterable<T>): Promise<T> {
  for await (const answer of answers) return answer;
  throw new Error("EOF");
}
