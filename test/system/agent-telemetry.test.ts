/**
 * What is seen of an agent from outside, ours and the reference's alike: figures for Prometheus, health over HTTP, limits on callers and
 * what the log says of those it refuses.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { eventually, freePort, run } from "../support/process.ts";
import { figuresAt } from "../support/prometheus.ts";
import {
  executable,
  GO_CLIENT,
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
} from "../support/spire.ts";

/** What only the reference has: its language's runtime, plugins behind an interface that counts calls, stores for SVIDs. */
const ITS_OWN = /_runtime_|_key_manager_|_store_store_/;
const STRANGER_UID = 3;

const stage = new Stage();
const agents = new Map<Implementation, Started>();

interface Started {
  readonly agent: TestAgent;
  readonly metrics: number;
  readonly health: number;
}

async function start(implementation: Implementation): Promise<void> {
  const ports = { metrics: await freePort(), health: await freePort() };
  const server = await TestServer.start(stage, "reference");
  const admin = join(stage.room("admin"), "admin.sock");
  const agent = await TestAgent.start(stage, implementation, server, {
    settings: `
  admin_socket_path = "${admin}"
  log_selectors = ["unix:uid"]
  experimental {
    ratelimit { fetch_jwt_svid = 1 }
  }`,
    more: `
telemetry {
  Prometheus {
    host = "127.0.0.1"
    port = ${ports.metrics}
  }
  EnableTrustDomainLabel = true
}
health_checks {
  listener_enabled = true
  bind_address = "127.0.0.1"
  bind_port = "${ports.health}"
  live_path = "/alive"
}`,
  });
  agents.set(implementation, { agent, ...ports });
  await server.entry("spiffe://example.org/a", agent.id, ["unix:uid:0"]);
  await eventually("the workload has an identity", async () => {
    const fetched = await agent.cli(["api", "fetch", "x509"]);
    return fetched.code === 0 ? true : undefined;
  });
  await run([GO_CLIENT, "bundles", agent.socket, "example.org"]);
  for (const command of ["logger get", "debug getinfo"]) {
    const program = executable(implementation, "spire-agent");
    const asked = await run([program, ...command.split(" "), "-socketPath", admin]);
    expect(asked.code).toBe(0);
  }
}

function started(implementation: Implementation): Started {
  const found = agents.get(implementation);
  if (found === undefined) throw new Error(`the ${implementation} agent was not started`);
  return found;
}

beforeAll(async () => {
  await Promise.all([start("ours"), start("reference")]);
}, 90_000);

afterAll(() => stage.close(), 60_000);

describe.each(["reference", "ours"] as const)("the %s agent", (implementation) => {
  test("refuses who calls too often", async () => {
    const { agent } = started(implementation);
    const refusal = await eventually("a refusal", async () => {
      const { stderr } = await agent.cli(["api", "fetch", "jwt", "-audience", "a"]);
      return stderr === "" ? undefined : stderr;
    });
    expect(refusal).toContain("rate limit exceeded for /SpiffeWorkloadAPI/FetchJWTSVID");
    await eventually("it is let in again", async () => {
      const { code } = await agent.cli(["api", "fetch", "jwt", "-audience", "a"]);
      return code === 0 ? true : undefined;
    });
  });

  test("shows of a stranger's selectors what it may", async () => {
    const { agent } = started(implementation);
    const fetched = await agent.cli(["api", "fetch", "x509"], { uid: STRANGER_UID });
    expect(fetched.code).toBe(1);
    const line = await agent.daemon.line((text) =>
      /level=(error|warning).*No identity issued.*unix:uid:3/.test(text),
    );
    expect(line).toContain(`selectors="unix:uid:${STRANGER_UID}"`);
    expect(line).toContain("registered=false");
    expect(line).not.toContain("unix:gid");
  });

  const ask = (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${started(implementation).health}${path}`);

  test.each(["/alive", "/ready"])("%s says that it is well", async (path) => {
    const answer = await eventually("health is told", () => ask(path).catch(() => undefined));
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ agent: {} });
  });
});

test("every figure of the reference's has the same name and labels here", async () => {
  const figures = (implementation: Implementation): Promise<Set<string>> =>
    figuresAt(started(implementation).metrics, "spire_agent");
  const [theirs, ours] = [await figures("reference"), await figures("ours")];
  expect(theirs.size).toBeGreaterThan(100);
  const missing = [...theirs].filter((series) => !ours.has(series) && !ITS_OWN.test(series));
  expect(missing).toEqual([]);
});
