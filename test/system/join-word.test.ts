/** A node joins by one word: where the word comes from, what is in it, and what it is good for. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { JoinWord } from "#spiffe/join-word.ts";
import { order } from "../support/authorities.ts";
import {
  expectNoSecret,
  fingerprintsOf,
  JoiningNode,
  joins,
  NODE,
  REFUSED,
  refusal,
  wordOf,
} from "../support/joining-node.ts";
import { eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const AGENT = executable("ours", "spire-agent");
const stage = new Stage();
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(() => stage.close(), 60_000);

describe("a word", () => {
  test("holds the server's address, its trust domain and its authorities", async () => {
    const word = JoinWord.parse(await wordOf(server));
    expect(word.trustDomain.name).toBe(TRUST_DOMAIN);
    expect(word.address).toEqual({ host: "127.0.0.1", port: server.port });
    expect(word.fingerprints).toEqual(await fingerprintsOf(server));
  });

  test("is all that an agent needs; used up, it starts that agent again, and no other", async () => {
    const word = await wordOf(server);
    await server.entry(`spiffe://${TRUST_DOMAIN}/db`, NODE, [`unix:uid:${process.getuid?.()}`]);
    const { node, daemon } = await joins(stage, ["-join", word]);
    const commandLine = readFileSync(`/proc/${daemon.pid}/cmdline`, "latin1").split("\0");
    expect(commandLine.slice(1, 4)).toEqual(["run", "-join", "x".repeat(word.length)]);
    await eventually("the workload's identity", async () => {
      const fetch = [AGENT, "api", "fetch", "x509", "-socketPath", node.socket];
      return (await run(fetch)).stdout.includes(`spiffe://${TRUST_DOMAIN}/db`) || undefined;
    });
    await daemon.stop();
    const again = node.start(["-join", word]);
    await node.healthy(again);
    expect(again.lines.join("\n")).toContain("SVID loaded");
    expectNoSecret(
      [...daemon.lines, ...again.lines].join("\n").replaceAll(/join_token\/\S+/g, ""),
      word,
    );
    const { said } = await refusal(stage, ["-join", word], {}, REFUSED);
    expect(said).toContain("join token does not exist or has already been used");
  }, 60_000);

  test("may be in a file, which may be gone later, or in a credential of systemd", async () => {
    const word = await wordOf(server);
    const files = stage.room("etc");
    const path = join(files, "join");
    writeFileSync(path, `${word}\n`);
    const { node, daemon } = await joins(stage, ["-joinFile", path]);
    const own = ["-dataDir", join(node.directory, "data"), "-socketPath", node.socket];
    expect(await run([AGENT, "doctor", "-joinFile", path, ...own])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("answers, and is trusted"),
    });
    await daemon.stop();
    // The same word by another way: it starts the agent that it let in.
    await node.healthy(node.start([], { CREDENTIALS_DIRECTORY: files }));
    writeFileSync(path, await wordOf(server));
    await joins(stage, [], { CREDENTIALS_DIRECTORY: files });
    writeFileSync(path, "");
    const { said } = await refusal(stage, [], { CREDENTIALS_DIRECTORY: files });
    expect(said).toContain("could not find config file");
  }, 60_000);

  test("may come through a pipe, which is read once", async () => {
    const node = new JoiningNode(stage);
    const word = await wordOf(server);
    const own = ["-dataDir", join(node.directory, "data"), "-socketPath", node.socket];
    const script = 'exec "$0" run -joinFile <(echo "$WORD") "$@"';
    const command = ["bash", "-c", script, AGENT, ...own];
    const env = { WORD: word };
    const daemon = stage.daemon(command, join(node.directory, "agent.log"), { env });
    await node.healthy(daemon);
  }, 60_000);

  test("stands in a configuration file in place of what it says", async () => {
    const path = join(stage.room("etc"), "join");
    writeFileSync(path, await wordOf(server));
    const agent = await TestAgent.prepare(stage, "ours", server, {
      token: "none",
      trustBundle: "",
      settings: `join_file = "${path}"`,
    });
    const text = readFileSync(agent.configuration, "utf8");
    const shorter = text.replaceAll(
      /^ *(join_token|server_address|server_port|trust_domain) = .*\n/gm,
      "",
    );
    expect(shorter.length).toBeLessThan(text.length);
    writeFileSync(agent.configuration, shorter);
    await agent.start();
  }, 60_000);

  test("lets a node in again that lost its disk, as the agent it was", async () => {
    const { node, daemon } = await joins(stage, ["-join", await wordOf(server)]);
    const [, id = ""] = /spiffe_id="?(spiffe:\S+?)"?(?:\s|$)/.exec(daemon.lines.join("\n")) ?? [];
    await daemon.stop();
    rmSync(join(node.directory, "data"), { recursive: true });
    const given = await server.cli("agent", "rejoin", "-spiffeID", id, "-join");
    expect(given).toMatchObject({ code: 0, stderr: expect.stringContaining("-serverAddress") });
    const again = node.start(["-join", given.stdout.trim()]);
    await node.healthy(again);
    expect(again.lines.join("\n")).toContain(id);
  }, 60_000);

  test("that is laid out anew lets an agent in again that runs, and whose SVID has expired", async () => {
    const brief = await TestServer.start(stage, "ours", { settings: 'agent_ttl = "3s"' });
    const node = new JoiningNode(stage);
    const path = node.file("join", await wordOf(brief));
    const daemon = node.start(["-joinFile", path]);
    await node.healthy(daemon);
    await daemon.stop();
    const { svid } = JSON.parse(readFileSync(join(node.directory, "data/agent-data.json"), "utf8"));
    const leaf = new X509Certificate(Buffer.from(svid[0], "base64"));
    await eventually(
      "the agent's SVID has expired",
      async () => Date.parse(leaf.validTo) < systemClock.nowMs() || undefined,
    );
    const again = node.start(["-joinFile", path]);
    await again.line((line) => line.includes("a new join word into the join_file"));
    writeFileSync(path, await wordOf(brief));
    await again.line((line) => line.includes("Successfully reattested node"));
  }, 60_000);

  test("is taken back as its token is", async () => {
    const word = await wordOf(server);
    const options = { input: `${word}\n` };
    const deleted = await server.cliOf("ours", ["token", "delete", "-file", "-"], options);
    expect(deleted).toEqual({ code: 0, stdout: "Token deleted.\n", stderr: "" });
    const { said } = await refusal(stage, ["-join", word], {}, REFUSED);
    expect(said).toContain("join token does not exist or has already been used");
  }, 60_000);
});

describe("a server with other authorities since", () => {
  test("is joined by a word that names the authority prepared then, and by none of before", async () => {
    const rotated = await TestServer.start(stage, "ours");
    const first = await order(rotated, "show");
    const early = await wordOf(rotated);
    const second = await order(rotated, "prepare");
    const late = await wordOf(rotated);
    expect(JoinWord.parse(late).fingerprints).toHaveLength(2);
    await order(rotated, "activate", "-authorityID", second);
    await order(rotated, "taint", "-authorityID", first);
    const tainted = await refusal(stage, ["-join", early]);
    expect(tainted.said).toContain("is signed by none of the authorities that the join word names");
    expect(JoinWord.parse(await wordOf(rotated)).fingerprints).toHaveLength(1);
    await joins(stage, ["-join", late]);
    await order(rotated, "revoke", "-authorityID", first);
    const revoked = await refusal(stage, ["-join", early]);
    expect(revoked.said).toContain("has none of the authorities that the join word names");
    expect(revoked.said).toContain("make a new word there");
    await joins(stage, ["-join", renewed(early, late)]);
  }, 90_000);

  test("is joined again by a node that was away meanwhile, once that has forgotten them", async () => {
    const rotated = await TestServer.start(stage, "ours");
    const first = await order(rotated, "show");
    const node = new JoiningNode(stage);
    const daemon = node.start(["-join", await wordOf(rotated)]);
    await node.healthy(daemon);
    const id = /spiffe:\/\/\S+\/join_token\/[\w-]+/.exec(daemon.lines.join("\n"))?.[0] ?? "";
    await daemon.stop();
    await order(rotated, "activate", "-authorityID", await order(rotated, "prepare"));
    await order(rotated, "taint", "-authorityID", first);
    await order(rotated, "revoke", "-authorityID", first);
    const { stdout: again } = await rotated.cli("agent", "rejoin", "-spiffeID", id, "-join");
    rmSync(join(node.directory, "data", "agent-data.json"));
    const returned = node.start(["-join", again.trim()]);
    await node.healthy(returned);
    const { agents } = await rotated.json("agent", "list");
    expect(agents).toMatchObject([{ id: { path: new URL(id).pathname } }]);
  }, 60_000);

  /** The token of one word with the authorities of another. */
  function renewed(early: string, late: string): string {
    const { trustDomain, address, fingerprints } = JoinWord.parse(late);
    const { token } = JoinWord.parse(early);
    return JoinWord.of({ trustDomain, address, fingerprints, token }).reveal();
  }
});

describe("token generate -join", () => {
  const generate = (...words: string[]): Promise<Finished> =>
    server.cli("token", "generate", "-join", ...words);

  test("puts the address in that agents are to use", async () => {
    const word = await wordOf(server, "-serverAddress", "[2001:db8::1]:443");
    expect(JoinWord.parse(word).address).toEqual({ host: "2001:db8::1", port: 443 });
    const other = await TestServer.start(stage, "ours", {
      settings: 'join_address = "spire.example.org:443"',
    });
    expect(JoinWord.parse(await wordOf(other)).address).toEqual({
      host: "spire.example.org",
      port: 443,
    });
    const named = JoinWord.parse(await wordOf(other, "-serverAddress", "spire-2.example.org"));
    expect(named.address).toEqual({ host: "spire-2.example.org", port: 443 });
  }, 60_000);

  test("says what it guessed, and that the node has no name", async () => {
    const open = await TestServer.prepare(stage, "ours");
    const text = readFileSync(open.configuration, "utf8");
    writeFileSync(open.configuration, text.replace('bind_address = "127.0.0.1"', ""));
    await open.start();
    const { code, stdout, stderr } = await open.cli("token", "generate", "-join");
    expect(code).toBe(0);
    const { address } = JoinWord.parse(stdout);
    expect(address.port).toBe(open.port);
    expect(address.host).toStartWith(hostname());
    expect(stderr).toMatch(/Agents will look for the server at|Warning: the join word names/);
    expect(stderr).toContain(address.host);
    expect(stderr).toEndWith("\nWarning: Missing SPIFFE ID.\n");
  }, 60_000);

  test.each([
    ["127.0.0.1", "the word is of use on this machine alone"],
    ["localhost", "the word is of use on this machine alone"],
    ["[::1]", "the word is of use on this machine alone"],
    ["vm.invalid", "this machine finds no address for that name"],
  ])("warns of %s, which leads nodes nowhere", async (address, doubt) => {
    const { code, stderr, stdout } = await generate("-serverAddress", address, "-spiffeID", NODE);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(doubt) });
    expect(stderr).toMatch(/^Warning: .* Give -serverAddress, or join_address in server.conf.\n$/);
    expect(JoinWord.parse(stdout).address.port).toBe(server.port);
  });

  test("does not warn of an address, nor of a name that resolves", async () => {
    const { stderr } = await generate("-serverAddress", "192.0.2.1", "-spiffeID", NODE);
    expect(stderr).toBe("");
  });

  test("as JSON", async () => {
    const { stdout } = await generate("-output", "json");
    const { expires_at: expiresAt, join: word, ...rest } = JSON.parse(stdout);
    expect(rest).toEqual({});
    expect(JoinWord.parse(word).address.port).toBe(server.port);
    expect(Number(expiresAt)).toBeGreaterThan(systemClock.nowSeconds());
  });

  test("makes no token that no word can carry", async () => {
    const before = await server.cli("entry", "count");
    for (const [words, problem] of [
      [["-serverAddress", "a b", "-spiffeID", NODE], '"a b" is no address of a server'],
      [["-serverAddress", "host:0", "-spiffeID", NODE], '"host:0" is no address of a server'],
    ] as const) {
      expect(await generate(...words)).toMatchObject({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining(problem),
      });
    }
    expect(await server.cli("entry", "count")).toEqual(before);
    const alone = await server.cli("token", "generate", "-serverAddress", "host:1");
    expect(alone.stderr).toBe("Error: serverAddress is for a join word: give -join too\n");
  });
});
