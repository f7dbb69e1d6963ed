import { expect, test } from "bun:test";
import { hostname } from "node:os";
import type { TelemetryConfig } from "./config.ts";
import { countCall } from "./metrics.ts";
import { PrometheusMetrics } from "./prometheus.ts";

const BASE: TelemetryConfig = {
  trustDomainLabel: false,
  hostnameLabel: false,
  allowedPrefixes: [],
  blockedPrefixes: [],
  blockedLabels: [],
};

function metrics(config: Partial<TelemetryConfig> = {}): PrometheusMetrics {
  return new PrometheusMetrics({
    ...BASE,
    ...config,
    service: "spire_server",
    trustDomain: "example.org",
  });
}

async function linesOf(of: PrometheusMetrics): Promise<string[]> {
  return (await of.text()).split("\n").filter((line) => line.startsWith("spire"));
}

test("a call is a counter by status and a summary of its milliseconds", async () => {
  const all = metrics();
  countCall(all, ["svid", "rotate"], "OK", 3);
  countCall(all, ["svid", "rotate"], "OK", 5);
  countCall(all, ["svid", "rotate"], "Unavailable", 1, {});
  expect(await linesOf(all)).toEqual([
    'spire_server_svid_rotate{status="OK"} 2',
    'spire_server_svid_rotate{status="Unavailable"} 1',
    'spire_server_svid_rotate_elapsed_time{quantile="0.5",status="OK"} 4',
    'spire_server_svid_rotate_elapsed_time{quantile="0.9",status="OK"} 5',
    'spire_server_svid_rotate_elapsed_time{quantile="0.99",status="OK"} 5',
    'spire_server_svid_rotate_elapsed_time_sum{status="OK"} 8',
    'spire_server_svid_rotate_elapsed_time_count{status="OK"} 2',
    'spire_server_svid_rotate_elapsed_time{quantile="0.5",status="Unavailable"} 1',
    'spire_server_svid_rotate_elapsed_time{quantile="0.9",status="Unavailable"} 1',
    'spire_server_svid_rotate_elapsed_time{quantile="0.99",status="Unavailable"} 1',
    'spire_server_svid_rotate_elapsed_time_sum{status="Unavailable"} 1',
    'spire_server_svid_rotate_elapsed_time_count{status="Unavailable"} 1',
  ]);
});

test("labels: those the operator wants, their values spelt safely", async () => {
  const all = metrics({ trustDomainLabel: true, hostnameLabel: true, prefix: "my" });
  all.gauge(["started"], 1, { version: "0.1.0" });
  const host = hostname().replace(/\W+_?/g, "_");
  expect(await linesOf(all)).toEqual([]);
  expect(await all.text()).toContain(
    `my_started{version="0_1_0",trust_domain="example_org",host="${host}"} 1`,
  );
  const few = metrics({ trustDomainLabel: true, blockedLabels: ["trust_domain"] });
  few.gauge(["started"], 1, { version: "0.1.0" });
  expect(await linesOf(few)).toEqual(['spire_server_started{version="0_1_0"} 1']);
});

test("prefixes: the longest that fits decides, and a name that none fits is kept", async () => {
  const all = metrics({
    blockedPrefixes: ["spire_server.datastore"],
    allowedPrefixes: ["spire_server.datastore.node"],
  });
  all.count(["datastore", "bundle", "fetch"]);
  all.count(["datastore", "node", "fetch"]);
  all.count(["svid", "rotate"]);
  expect(await linesOf(all)).toEqual([
    "spire_server_datastore_node_fetch 1",
    "spire_server_svid_rotate 1",
  ]);
});

test("what is measured when somebody reads is true at that moment", async () => {
  const all = metrics();
  let size = 1;
  all.whenRead(() => all.gauge(["cache_size"], size));
  expect(await linesOf(all)).toEqual(["spire_server_cache_size 1"]);
  size = 2;
  expect(await linesOf(all)).toEqual(["spire_server_cache_size 2"]);
});

test("a counter goes up by as many as there were, by none too", async () => {
  const all = metrics();
  all.count(["entry_add"], {}, 3);
  all.count(["entry_add"]);
  all.count(["entry_remove"], {}, 0);
  expect(await linesOf(all)).toEqual(["spire_server_entry_add 4", "spire_server_entry_remove 0"]);
});
