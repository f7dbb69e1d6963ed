/** Lifetimes that an operator raises while a server runs: the CA that is too short for them gives way at once. */
import { afterAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { Authorities } from "#upstream/disk/openssl.fixture.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const HOUR = 3600;
const stage = new Stage();
const files = new Authorities();
afterAll(async () => {
  await stage.close();
  files.remove();
}, 60_000);

interface Told {
  readonly identities: readonly {
    readonly x509_svid: { readonly lifetime: string; readonly limit: string };
  }[];
}

test("a raised ca_ttl counts for the next SVID, and a raised TTL of an entry makes one", async () => {
  files.ca("root");
  const server = await TestServer.start(stage, "ours", {
    settings: 'ca_ttl = "1h"',
    plugins: `UpstreamAuthority "disk" {
    plugin_data {
      cert_file_path = "${files.path("root.pem")}"
      key_file_path = "${files.path("root.key")}"
    }
  }`,
  });
  const agent = await TestAgent.start(stage, "ours", server);
  const entry = ["-parentID", agent.id, "-spiffeID", `spiffe://${TRUST_DOMAIN}/w`];
  const id = await server.entry(
    `spiffe://${TRUST_DOMAIN}/w`,
    agent.id,
    ["unix:uid:1"],
    "-x509SVIDTTL",
    "7200",
  );
  const lifetime = async (): Promise<readonly [number, string] | undefined> => {
    const answer = await agent.cli(["api", "explain", "-output", "json"], { uid: 1 });
    const [one] = answer.code === 0 ? (JSON.parse(answer.stdout) as Told).identities : [];
    return one && [Number(one.x509_svid.lifetime), one.x509_svid.limit];
  };
  const until = (limit: string) =>
    eventually(`an SVID that ends by ${limit}`, async () => {
      const found = await lifetime();
      return found?.[1] === limit ? found[0] : undefined;
    });
  expect(await until("AUTHORITY")).toBeLessThanOrEqual(HOUR);

  writeFileSync(
    server.configuration,
    readFileSync(server.configuration, "utf8").replace('ca_ttl = "1h"', 'ca_ttl = "48h"'),
  );
  server.daemon.signal("SIGHUP");
  await eventually("a CA of two days", async () => {
    const shown = await server.json("localauthority", "x509", "show");
    const { expires_at } = shown["active"] as { readonly expires_at: string };
    return Number(expires_at) > Date.now() / 1000 + 40 * HOUR ? true : undefined;
  });
  const words = ["-entryID", id, ...entry, "-selector", "unix:uid:1", "-x509SVIDTTL", "10800"];
  expect((await server.cli("entry", "update", ...words)).code).toBe(0);
  expect(await until("ENTRY")).toBe(3 * HOUR);
}, 90_000);
