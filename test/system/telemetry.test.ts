/** Figures for Prometheus and health over HTTP, with the names and answers that monitoring of the reference's server relies on. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { freePort } from "../support/process.ts";
import { figuresAt } from "../support/prometheus.ts";
import { type Implementation, Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

/** What only the reference can measure: its language's runtime, and a cache that is filled anew every few seconds. */
const ITS_OWN =
  /_runtime_|_entry_cache_reload|_node_manager_|_key_manager_|_node_selectors_|_join_token_delete|_events?_/;

const stage = new Stage();
const servers = new Map<Implementation, { readonly server: TestServer; readonly ports: Ports }>();

interface Ports {
  readonly metrics: number;
  readonly health: number;
}

async function start(implementation: Implementation): Promise<void> {
  const ports = { metrics: await freePort(), health: await freePort() };
  const server = await TestServer.prepare(stage, implementation, {
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
}
`,
  });
  await server.start();
  servers.set(implementation, { server, ports });
}

function part(implementation: Implementation): { server: TestServer; ports: Ports } {
  const found = servers.get(implementation);
  if (found === undefined) throw new Error(`the ${implementation} server was not started`);
  return found;
}

beforeAll(async () => {
  await Promise.all([start("ours"), start("reference")]);
  for (const { server } of servers.values()) {
    const id = await server.entry(`spiffe://${TRUST_DOMAIN}/a`, `spiffe://${TRUST_DOMAIN}/node`, [
      "unix:uid:1",
    ]);
    await server.cli("entry", "show", "-entryID", id);
    await server.cli("entry", "show", "-entryID", "nobody");
    await server.cli("entry", "delete", "-entryID", id);
    await server.cli("token", "generate");
    await server.cli("agent", "list");
    await server.cli("agent", "count");
    await server.cli("bundle", "show");
    await server.cli("x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/a`);
    await server.cli("jwt", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/a`, "-audience", "b");
  }
}, 60_000);

afterAll(() => stage.close(), 60_000);

test("every figure of the reference's has the same name and labels here", async () => {
  const figures = (implementation: Implementation): Promise<Set<string>> =>
    figuresAt(part(implementation).ports.metrics, "spire_server");
  const [theirs, ours] = [await figures("reference"), await figures("ours")];
  expect(theirs.size).toBeGreaterThan(100);
  const missing = [...theirs].filter((series) => !ours.has(series) && !ITS_OWN.test(series));
  expect(missing).toEqual([]);
});

describe.each(["reference", "ours"] as const)("health of the %s server", (implementation) => {
  const ask = (path: string, method = "GET"): Promise<Response> =>
    fetch(`http://127.0.0.1:${part(implementation).ports.health}${path}`, { method });

  test.each(["/alive", "/ready"])("%s says that it is well", async (path) => {
    const answer = await ask(path);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toMatchObject({ server: {} });
  });

  test("nothing else is there", async () => {
    expect((await ask("/live")).status).toBe(404);
  });
});
