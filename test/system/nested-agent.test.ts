/** An agent that knows its server by the trust bundle of another agent's Workload API. */
import { afterAll, expect, test } from "bun:test";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const bundleOf = (outer: TestAgent): string =>
  `trust_bundle_spiffe_workload_api = "unix://${outer.socket}"`;

test("it joins", async () => {
  const server = await TestServer.start(stage, "ours");
  const outer = await TestAgent.start(stage, "ours", server);
  await server.entry("spiffe://example.org/inner", outer.id, [`unix:uid:${process.getuid?.()}`]);
  await eventually("the other agent hands the bundle out", async () => {
    const fetched = await outer.cli(["api", "fetch", "x509"]);
    return fetched.code === 0 ? true : undefined;
  });
  const inner = await TestAgent.start(stage, "ours", server, { trustBundle: bundleOf(outer) });
  expect((await server.cli("agent", "list")).stdout).toContain(inner.id);
}, 60_000);

test("a bundle of another trust domain is not taken for its own", async () => {
  const server = await TestServer.start(stage, "ours");
  const stranger = await TestServer.start(stage, "ours", { trustDomain: "other.example" });
  const outer = await TestAgent.start(stage, "ours", stranger, {
    settings: "allow_unauthenticated_verifiers = true",
  });
  const trustBundle = bundleOf(outer);
  const inner = await TestAgent.prepare(stage, "ours", server, { trustBundle });
  const daemon = inner.launch();
  await daemon.line((line) => line.includes("the answer has none of trust domain example.org"));
  expect(daemon.lines.join("\n")).not.toContain("Node attestation was successful");
  await daemon.stop();
}, 60_000);
