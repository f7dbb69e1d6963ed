/** What the commands about agents tell beyond the reference's: at a terminal, in JSON, and of nodes by their aliases. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { hostname } from "node:os";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
const ALIAS = "spiffe://example.org/node-1";
let server: TestServer;
let agent: TestAgent;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server, {
    token: await server.token("-spiffeID", ALIAS),
  });
  const second = await TestAgent.start(stage, "reference", server);
  expect(second.id).not.toBe(agent.id);
}, 60_000);
afterAll(() => stage.close(), 60_000);

/** What a person at a terminal sees. */
async function seen(...words: string[]): Promise<string> {
  const command = [executable("ours", "spire-server"), ...words, "-socketPath", server.socket];
  const { stdout } = await run(["script", "-qec", command.join(" "), "/dev/null"], {
    env: { TERM: "xterm" },
  });
  return stdout.replaceAll("\r\n", "\n");
}

async function listed(...words: string[]): Promise<Record<string, unknown>[]> {
  return (await server.json("agent", "list", ...words))["agents"] as Record<string, unknown>[];
}

const pathOf = (id: string): string => new URL(id).pathname;

describe("agent list", () => {
  test("is a table at a terminal", async () => {
    const table = await eventually("both agents have called", async () => {
      const text = await seen("agent", "list", "-sort", "host");
      return /join_token\s+(now|\ds ago)\s+59m\n.*join_token\s+(now|\d+s ago)/.test(text)
        ? text
        : undefined;
    });
    const [heading = "", ours = "", theirs = "", ...rest] = table.split("\n");
    expect(heading).toMatch(/^NODE +HOST +ADDRESS +VERSION +ATTESTED BY +LAST SEEN +EXPIRES IN$/);
    expect(ours.split(/ {2,}/).slice(0, 3)).toEqual([ALIAS, hostname(), "127.0.0.1"]);
    expect(theirs).toMatch(
      /^spiffe:\/\/example\.org\/spire\/agent\/join_token\/\S+ +- +127\.0\.0\.1 +1\.15\.3/,
    );
    expect(rest).toEqual([""]);
  });

  test("is the reference's text where a script reads it", async () => {
    const { stdout } = await server.cli("agent", "list");
    expect(stdout).toStartWith("Found 2 attested agents:\n\nSPIFFE ID         : spiffe://");
    expect(stdout).not.toContain(hostname());
  });

  test("has in JSON what is known beside the reference's fields", async () => {
    const both = await listed();
    const node = both.find(({ id }) => (id as { path: string }).path === pathOf(agent.id))?.[
      "node"
    ];
    expect(node).toMatchObject({
      aliases: [ALIAS],
      host_name: hostname(),
      address: "127.0.0.1",
      attestors: ["unix"],
    });
    const { last_seen_at } = node as { last_seen_at: string };
    expect(Date.now() / 1000 - Number(last_seen_at)).toBeLessThan(60);
  });

  test("may be kept to those that end soon", async () => {
    expect(await listed("-expiring", "1m")).toEqual([]);
    expect(await listed("-expiring", "2h")).toHaveLength(2);
    const { stdout } = await server.cli("agent", "list", "-expiring", "1m");
    expect(stdout).toBe("No attested agents found\n");
  });

  test("refuses to sort by what is none", async () => {
    const { code, stderr } = await server.cli("agent", "list", "-sort", "size");
    expect(code).toBe(1);
    expect(stderr).toContain('agents cannot be sorted by "size": choose node, host,');
  });

  test("of a server of the reference is what that one knows", async () => {
    const other = await TestServer.start(stage, "reference");
    const word = await other.token();
    await TestAgent.start(stage, "ours", other, { token: word });
    const { code, stdout } = await other.cliOf("ours", ["agent", "list", "-output", "json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).agents).toHaveLength(1);
    const shown = await other.cliOf("ours", ["agent", "show", "-spiffeID", ALIAS]);
    expect(shown.code).toBe(1);
  }, 60_000);
});

test("an entry that asks for an attestor that its node lacks is warned of", async () => {
  const words = ["-spiffeID", "spiffe://example.org/unit", "-selector", "systemd:id:x.service"];
  const { code, stderr } = await server.cli("entry", "create", "-parentID", ALIAS, ...words);
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr:
      'Warning: selector "systemd:id:x.service": the node has no workload attestor systemd, only unix\n',
  });
});

describe("an alias stands for its node", () => {
  test("in show, which tells more at a terminal", async () => {
    const { code, stdout } = await server.cli("agent", "show", "-spiffeID", ALIAS);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining(agent.id) });
    expect(stdout).not.toContain(ALIAS);
    expect(await seen("agent", "show", "-spiffeID", ALIAS)).toContain(
      `Alias             : ${ALIAS}\nHost name         : ${hostname()}\n`,
    );
  });

  test("in rejoin, ban and evict", async () => {
    expect((await server.cli("agent", "rejoin", "-spiffeID", ALIAS)).stdout).toStartWith("Token: ");
    const { code, stdout } = await server.cli("agent", "ban", "-spiffeID", ALIAS);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "Agent banned successfully\n" });
    expect(await seen("agent", "list")).toMatch(new RegExp(`^${ALIAS} .* banned$`, "m"));
    expect((await server.cli("agent", "evict", "-spiffeID", ALIAS)).code).toBe(0);
    expect(await listed()).toHaveLength(1);
  });

  test("unless it is of several, or of none", async () => {
    const alias = "spiffe://example.org/class";
    for (let joined = 0; joined < 2; joined++) {
      const token = await server.token("-spiffeID", alias);
      await TestAgent.start(stage, "ours", server, { token });
    }
    const several = await server.cli("agent", "ban", "-spiffeID", alias);
    expect(several.code).toBe(1);
    expect(several.stderr).toContain(
      `${alias} is an alias of 2 agents; name one of them: spiffe://`,
    );
    expect(await listed("-banned", "true")).toEqual([]);
    const none = await server.cli("agent", "show", "-spiffeID", "spiffe://example.org/nobody");
    expect(none.code).toBe(1);
  }, 60_000);
});
