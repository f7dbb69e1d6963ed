import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planReload } from "#config/reload.ts";
import { reloadableSettings } from "#config/reloadable-settings.fixture.ts";
import type { CountEntriesResponse } from "#proto/spire/api/server/entry/v1/entry.ts";
import type { MintX509SVIDResponse } from "#proto/spire/api/server/svid/v1/svid.ts";
import { loadServerConfig, type ServerConfig } from "#server/config/config.ts";
import { SERVER_KEYS } from "#server/config/reloadable-settings.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import {
  asWorkload,
  newKey,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "./server.fixture.ts";

describe("a server that runs takes over", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.stop());

  const reload = (change: Partial<ServerConfig>): Promise<void> =>
    server.server.reload({ ...server.config, ...change });

  test("who administrates, for connections that are open as well", async () => {
    const { entry } = await asWorkload(server, "/boss");
    const count = (): Promise<CountEntriesResponse> =>
      unary((done) => entry.countEntries({ filter: undefined }, done));
    expect(await refused(count())).toMatchObject({ code: 7 });
    await reload({ adminIds: [SpiffeId.parse("spiffe://example.org/boss")] });
    expect(await count()).toEqual({ count: 0 });
    await reload({ adminIds: [] });
    expect(await refused(count())).toMatchObject({ code: 7 });
  });

  test("how long SVIDs live", async () => {
    await reload({ defaultX509SvidTtlSeconds: 120 });
    const { csr } = await newKey("spiffe://example.org/x");
    const { svid } = await unary<MintX509SVIDResponse>((done) =>
      server.local.svid.mintX509Svid({ csr, ttl: 0 }, done),
    );
    const { notBefore, notAfter } = Certificate.parse(svid?.certChain[0] ?? new Uint8Array());
    expect(notAfter - notBefore).toBe(130);
  });

  test("what is audited", async () => {
    const audits = (): number => server.logged.filter(({ type }) => type === "audit").length;
    const count = (): Promise<CountEntriesResponse> =>
      unary((done) => server.local.entry.countEntries({ filter: undefined }, done));
    await count();
    expect(audits()).toBe(0);
    await reload({ auditLogEnabled: true });
    await count();
    // It only reads.
    expect(audits()).toBe(0);
    await reload({ auditLogEnabled: true, auditLogReads: true });
    await count();
    expect(audits()).toBe(1);
  });

  test("whom it federates with", async () => {
    const other = {
      trustDomain: TrustDomain.parse("other.test"),
      bundleEndpointUrl: "https://127.0.0.1:1",
      profile: { kind: "https_web" },
    } as const;
    const told = (msg: string) => ({ msg, trust_domain: "other.test" });
    await reload({ federation: { federatesWith: [other] } });
    expect(server.logged).toContainEqual(
      expect.objectContaining(told("Trust domain is now managed")),
    );
    await reload({});
    expect(server.logged).toContainEqual(
      expect.objectContaining(told("Trust domain no longer managed")),
    );
  });

  test("nothing of what it needs a restart for, which it names, every time", async () => {
    const before = server.logged.length;
    await reload({ bindPort: 1, dataDir: "/elsewhere", caTtlSeconds: 7200 });
    await reload({ bindPort: 1 });
    const [first, second] = server.logged.slice(before).filter(({ level }) => level === "warning");
    expect(first).toMatchObject({
      msg: "Configuration changes take effect after a restart",
      keys: "data_dir, bind_port",
    });
    expect(second).toMatchObject({ keys: "bind_port" });
  });
});

test("docs/CONFIGURATION.md names just the keys that count at once", () => {
  const text = readFileSync(join(import.meta.dir, "../../docs/CONFIGURATION.md"), "utf8");
  const named = /^\| server \| (`log_level`.*) \|$/m.exec(text)?.[1] ?? "";
  expect(named.split(", ").sort()).toEqual(
    reloadableSettings(SERVER_KEYS).map((key) => `\`${key}\``),
  );
});

test("every key of a whole configuration can be compared, and is known by its name", async () => {
  const directory = mkdtempSync(join(tmpdir(), "reload-"));
  const path = join(directory, "server.conf");
  const read = async (text: string): Promise<ServerConfig> => {
    writeFileSync(path, text);
    return loadServerConfig({ config: path });
  };
  const present = await read(whole("10.0.0.0/8", "{{ .Fingerprint }}", "https://a.test"));
  const again = await read(whole("10.0.0.0/8", "{{ .Fingerprint }}", "https://a.test"));
  expect(planReload(SERVER_KEYS, present, again)).toMatchObject({ applied: [], pending: [] });
  const next = await read(whole("10.0.0.0/9", "x{{ .Fingerprint }}", "https://b.test"));
  expect(planReload(SERVER_KEYS, present, next)).toMatchObject({
    applied: ["federation.federates_with", "NodeAttestor"],
    pending: ["proxy_protocol_trusted_cidrs"],
  });
  rmSync(directory, { recursive: true });
});

const whole = (network: string, template: string, url: string): string => `
server {
  trust_domain = "example.org"
  data_dir = "/data"
  admin_ids = ["spiffe://example.org/boss"]
  proxy_protocol_trusted_cidrs = ["${network}"]
  federation {
    federates_with "other.test" {
      bundle_endpoint_url = "${url}"
      bundle_endpoint_profile "https_spiffe" {
        endpoint_spiffe_id = "spiffe://other.test/server"
      }
    }
  }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "/data/db" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "/ca.pem"
      agent_path_template = "/${template}"
    }
  }
}
telemetry { Prometheus { port = 9000 } }
health_checks { listener_enabled = true }
`;
