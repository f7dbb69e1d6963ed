import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planReload } from "#config/reload.ts";
import { reloadableSettings } from "#config/reloadable-settings.fixture.ts";
import { type AgentConfig, loadAgentConfig } from "./config.ts";
import { AGENT_KEYS } from "./reloadable-settings.ts";

const agentConf = (port: number, delegate: string, rate: number): string => `
agent {
  trust_domain = "example.org"
  server_address = "localhost"
  server_port = ${port}
  data_dir = "/data"
  insecure_bootstrap = true
  join_token = "token"
  authorized_delegates = ["spiffe://example.org/${delegate}"]
  experimental { ratelimit { fetch_x509_svid = ${rate} } }
}
plugins {
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
telemetry { Prometheus { port = 9000 } }
health_checks { listener_enabled = true }
`;

test("docs/CONFIGURATION.md names just the keys that count at once", () => {
  const text = readFileSync(join(import.meta.dir, "../../../docs/CONFIGURATION.md"), "utf8");
  const named = /^\| agent \| (`log_level`.*) \|$/m.exec(text)?.[1] ?? "";
  expect(named.split(", ").sort()).toEqual(
    reloadableSettings(AGENT_KEYS).map((key) => `\`${key}\``),
  );
});

test("every key of a whole configuration can be compared, and is known by its name", async () => {
  const directory = mkdtempSync(join(tmpdir(), "reload-"));
  const path = join(directory, "agent.conf");
  const read = async (text: string): Promise<AgentConfig> => {
    writeFileSync(path, text);
    return loadAgentConfig({ config: path });
  };
  const present = await read(agentConf(8081, "proxy", 1));
  expect(planReload(AGENT_KEYS, present, await read(agentConf(8081, "proxy", 1)))).toMatchObject({
    applied: [],
    pending: [],
  });
  expect(planReload(AGENT_KEYS, present, await read(agentConf(8082, "other", 2)))).toMatchObject({
    applied: ["experimental.ratelimit", "authorized_delegates"],
    pending: ["server_port"],
  });
  rmSync(directory, { recursive: true });
});
