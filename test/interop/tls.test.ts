/** What TLS connections agree on: by default, with old clients, and with require_pq_kem, which the reference has too. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { eventually, freePort, run } from "../support/process.ts";
import {
  executable,
  GO_CLIENT,
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
} from "../support/spire.ts";

const REQUIRED = "experimental { require_pq_kem = true }";
const POST_QUANTUM = "X25519MLKEM768";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/** What a client that offers only that gets from a listener: the group, or `refused`. */
async function agreed(port: number, groups: string, version: string): Promise<string> {
  const answer = await run([GO_CLIENT, "handshake", `127.0.0.1:${port}`, groups, version]);
  if (answer.code !== 0) return "refused";
  const { group, version: used } = JSON.parse(answer.stdout) as Record<string, string>;
  return `TLS ${version}` === used ? String(group) : `${used}?`;
}

describe("a server", () => {
  const listeners: Record<string, { readonly agents: number; readonly bundle: number }> = {};

  beforeAll(async () => {
    for (const [name, more] of Object.entries({ plain: "", required: REQUIRED })) {
      const bundle = await freePort();
      const server = await TestServer.start(stage, "ours", {
        settings: `${more}
  federation {
    bundle_endpoint {
      address = "127.0.0.1"
      port = ${bundle}
      profile "https_spiffe" {}
    }
  }`,
      });
      listeners[name] = { agents: server.port, bundle };
    }
  }, 60_000);

  const cases = [
    ["any", "1.3", POST_QUANTUM, POST_QUANTUM],
    ["X25519", "1.3", "X25519", "refused"],
    ["P-256", "1.2", "P-256", "refused"],
    ["any", "1.1", "refused", "refused"],
  ] as const;
  describe.each(["agents", "bundle"] as const)("for %s", (listener) => {
    test.each(cases)(
      "a client with groups %s of TLS %s",
      async (groups, version, plain, required) => {
        const port = (name: string): number => listeners[name]?.[listener] ?? 0;
        // Go spells the curve without its hyphen.
        const shown = (group: string): string => group.replace("CurveP256", "P-256");
        expect(shown(await agreed(port("plain"), groups, version))).toBe(plain);
        expect(shown(await agreed(port("required"), groups, version))).toBe(required);
      },
    );
  });
});

const both: readonly Implementation[] = ["ours", "reference"];
test.each(both.flatMap((server) => both.map((agent) => [server, agent] as const)))(
  "with require_pq_kem at both ends, server %s and agent %s understand each other",
  async (serverOf, agentOf) => {
    const server = await TestServer.start(stage, serverOf, { settings: REQUIRED });
    const agent = await TestAgent.start(stage, agentOf, server, { settings: REQUIRED });
    expect((await server.cli("agent", "list")).stdout).toContain(agent.id);
  },
  120_000,
);

describe("an agent", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
  }, 60_000);

  async function offered(settings: string): Promise<unknown> {
    const agent = await TestAgent.prepare(stage, "ours", server, { settings });
    const log = (name: string): string => join(agent.directory, `${name}.log`);
    const port = await freePort();
    const listener = stage.daemon([GO_CLIENT, "hello", `127.0.0.1:${port}`], log("hello"));
    await listener.line((line) => line.includes("listening"));
    const command = [executable("ours", "spire-agent"), "run", "-config", agent.configuration];
    const daemon = stage.daemon([...command, "-serverPort", String(port)], log("agent"));
    await eventually("the agent connects", async () => (listener.running ? undefined : true));
    await daemon.stop();
    return JSON.parse(listener.lines.at(-1) ?? "");
  }

  test("offers the post-quantum group first", async () => {
    const hello = (await offered("")) as { groups: string[]; versions: string[] };
    expect(hello.groups[0]).toBe(POST_QUANTUM);
    expect(hello.groups.length).toBeGreaterThan(2);
    expect(hello.versions).toEqual(["TLS 1.3", "TLS 1.2"]);
  });

  test("offers nothing else with require_pq_kem", async () => {
    expect(await offered(REQUIRED)).toEqual({ groups: [POST_QUANTUM], versions: ["TLS 1.3"] });
  });
});
