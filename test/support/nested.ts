/** Servers below servers of one trust domain. */
import { eventually } from "./process.ts";
import { type Implementation, type Stage, TestAgent, TestServer, TRUST_DOMAIN } from "./spire.ts";

/** A server, and the agent that gives workloads their identity by it. */
export interface Tier {
  readonly server: TestServer;
  readonly agent: TestAgent;
}

/** Agents that hear of changes within a second, whoever made them. */
const QUICK_SYNC = `experimental { sync_interval = "1s" }`;

export async function rootTier(
  stage: Stage,
  [server, agent]: readonly [Implementation, Implementation],
): Promise<Tier> {
  return withAgent(stage, agent, await TestServer.start(stage, server));
}

/** The plugin block of a server that is below another. */
function upstreamBlock({ server, agent }: Tier, address = "127.0.0.1"): string {
  return `UpstreamAuthority "spire" {
    plugin_data {
      server_address = "${address}"
      server_port = "${server.port}"
      workload_api_socket = "${agent.socket}"
    }
  }`;
}

/** Lets a server of that name be below this tier: it runs as root, and the tier's agent knows it by that. */
async function allowBelow({ server, agent }: Tier, name: string): Promise<void> {
  const id = `spiffe://${TRUST_DOMAIN}/${name}`;
  await server.entry(id, agent.id, ["unix:uid:0"], "-downstream");
}

/** Starts a server below a tier, with an agent of its own. */
export async function tierBelow(
  stage: Stage,
  above: Tier,
  name: string,
  [server, agent]: readonly [Implementation, Implementation],
): Promise<Tier> {
  const below = await serverBelow(stage, above, name, server);
  await below.start();
  return withAgent(stage, agent, below);
}

/** A server below a tier, not started yet. */
export async function serverBelow(
  stage: Stage,
  above: Tier,
  name: string,
  implementation: Implementation,
  options: {
    /** Where it looks for the server above. */
    readonly upstreamAddress?: string;
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<TestServer> {
  const { upstreamAddress, env = {} } = options;
  await allowBelow(above, name);
  await eventually(`${name} has an identity`, async () => {
    const fetched = await above.agent.cli(["api", "fetch", "x509"]);
    return fetched.code === 0 ? true : undefined;
  });
  return TestServer.prepare(stage, implementation, {
    plugins: upstreamBlock(above, upstreamAddress),
    env,
  });
}

async function withAgent(
  stage: Stage,
  implementation: Implementation,
  server: TestServer,
): Promise<Tier> {
  const agent = await TestAgent.start(stage, implementation, server, { settings: QUICK_SYNC });
  return { server, agent };
}
