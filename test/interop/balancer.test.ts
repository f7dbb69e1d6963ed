/** proxy_protocol_trusted_cidrs: behind a load balancer a server knows where its callers are, ours as the reference's. */
import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type Balancer, balance } from "#grpc/balancer.fixture.ts";
import { executable, type Implementation, Stage, TestAgent, TestServer } from "../support/spire.ts";

const CALLER = "192.0.2.7";
const LINE = `PROXY TCP4 ${CALLER} 198.51.100.1 56324 8081\r\n`;
const BINARY = Buffer.from("0d0a0d0a000d0a515549540a2111000cc0000207c6336401dc041f91", "hex");

const stage = new Stage();
const balancers: Balancer[] = [];

afterAll(async () => {
  for (const balancer of balancers) await balancer.close();
  await stage.close();
}, 60_000);

async function serverThatTrusts(implementation: Implementation, cidr: string): Promise<TestServer> {
  return await TestServer.start(stage, implementation, {
    settings: `audit_log_enabled = true\n  proxy_protocol_trusted_cidrs = ["${cidr}"]`,
  });
}

/** Starts an agent that comes by such a balancer. @returns the first such line of its log, or of the server's */
async function firstLineOf(
  server: TestServer,
  header: string | Buffer,
  line: RegExp,
): Promise<string> {
  const balancer = await balance(server.port, header);
  balancers.push(balancer);
  const agent = await TestAgent.prepare(stage, "ours", server);
  const command = [executable("ours", "spire-agent"), "run", "-config", agent.configuration];
  const path = ["-serverPort", String(balancer.port)];
  const daemon = stage.daemon([...command, ...path], join(agent.directory, "agent.log"));
  const lines = [server.daemon, daemon].map((of) => of.line((text) => line.test(text)));
  const found = await Promise.any(lines);
  await daemon.stop();
  return found;
}

const both: readonly Implementation[] = ["ours", "reference"];
describe.each(both)("%s", (implementation) => {
  test.each([
    ["1", LINE],
    ["2", BINARY],
  ])(
    "audits an agent's calls from its address, by version %s",
    async (_, header) => {
      const server = await serverThatTrusts(implementation, "127.0.0.0/8");
      const audited = await firstLineOf(
        server,
        header,
        /AttestAgent.*type=audit|type=audit.*AttestAgent/,
      );
      expect(audited).toContain(CALLER);
    },
    60_000,
  );

  test("lets nobody else say where it is", async () => {
    const server = await serverThatTrusts(implementation, "10.0.0.0/8");
    const failed = await firstLineOf(server, LINE, /Failed to attest|AttestAgent/);
    expect(failed).not.toContain("AttestAgent");
  }, 60_000);
});
