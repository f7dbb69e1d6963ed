/** A server comes back from its backup, also on another machine, and agents and workloads go on as if nothing had been. */
import { afterAll, expect, test } from "bun:test";
import {
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Chance } from "../faults/chance.ts";
import { backUp, backup, freshMachine, restore } from "../support/backups.ts";
import { REFUSED } from "../support/joining-node.ts";
import { type Daemon, eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
const backups = stage.room("backups");
afterAll(() => stage.close(), 60_000);

const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;

/** The SPIFFE IDs that a process of uid 1 gets. */
async function identities(agent: TestAgent): Promise<string[]> {
  const { stdout } = await agent.cli(["api", "fetch", "x509"], { uid: 1 });
  return [...stdout.matchAll(/^SPIFFE ID:\s+(\S+)$/gm)].map(([, id = ""]) => id).sort();
}

async function served(agent: TestAgent, ...names: string[]): Promise<void> {
  const expected = names.map(idOf).sort();
  await eventually(`the workload has ${names.join(", ")}`, async () => {
    const found = await identities(agent);
    if (Bun.deepEquals(found, expected)) return true;
    throw new Error(`it has ${found.join(", ")}`);
  });
}

/** Waits for so many lines of that kind, from line `from` on. */
async function lines(daemon: Daemon, what: string, count: number, from: number): Promise<void> {
  await eventually(`${count} times ${what}`, async () => {
    const found = daemon.lines.slice(from).filter((line) => line.includes(what));
    return found.length >= count ? true : undefined;
  });
}

test("on a fresh machine agents go on with the SVIDs they renewed meanwhile, and entries are as in the backup", async () => {
  const settings = `agent_ttl = "12s"`;
  const server = await TestServer.start(stage, "ours", { settings });
  const agent = await TestAgent.start(stage, "ours", server);
  const parent = ["-parentID", agent.id, "-selector", "unix:uid:1"];
  const changed = await server.entry(idOf("changed"), agent.id, ["unix:uid:1"]);
  const deleted = await server.entry(idOf("deleted"), agent.id, ["unix:uid:1"]);
  await served(agent, "changed", "deleted");
  const tokens = [await server.token(), await server.token()];
  writeFileSync(join(backups, "passphrase"), "correct horse\n");
  const secret = ["-passphraseFile", join(backups, "passphrase")];
  const path = join(backups, "moved");
  await backUp(server, path, ...secret);
  const from = agent.daemon.lines.length;

  await server.cli("entry", "delete", "-entryID", deleted);
  await server.cli("entry", "create", "-spiffeID", idOf("made-after"), ...parent);
  await server.cli(
    "entry",
    "update",
    "-entryID",
    changed,
    "-spiffeID",
    idOf("changed-after"),
    ...parent,
  );
  const late = await TestAgent.start(stage, "ours", server, { token: tokens[0] ?? "" });
  await served(agent, "changed-after", "made-after");
  await lines(agent.daemon, "Successfully rotated agent SVID", 2, from);
  await server.daemon.kill();
  rmSync(server.directory, { recursive: true });

  const next = await freshMachine(stage, server, settings);
  await restore(next, path, ...secret);
  await next.start();
  // One may have let a node in meanwhile, and one did; none lets in a node now.
  for (const token of tokens) {
    const another = await TestAgent.prepare(stage, "ours", next, { token });
    expect(await another.launch().exited).toBe(REFUSED);
  }
  await served(agent, "changed", "deleted");
  const { agents } = await next.json("agent", "list");
  expect(agents).toMatchObject([{ id: { path: new URL(agent.id).pathname } }]);
  // It goes on renewing as well, and had to join at no time.
  await lines(agent.daemon, "Successfully rotated agent SVID", 1, agent.daemon.lines.length);
  expect(agent.daemon.lines.slice(from).filter((line) => /re-?attest/i.test(line))).toEqual([]);
  // Whom the backup does not know has to join anew.
  expect(await late.daemon.exited).toBe(1);
  expect(late.daemon.lines.join("\n")).toContain("Agent failed re-attestation; removing SVID");
}, 90_000);

test("a backup that anybody could have made is restored by nobody's word but the operator's", async () => {
  const server = await TestServer.start(stage, "ours");
  const path = join(backups, "unsealed");
  await backUp(server, path);
  await server.daemon.stop();
  writeFileSync(join(backups, "pass"), "correct horse\n");
  const data = stage.room("restored");
  const words = ["restore", "-dataDir", data];
  const sealed = await backup(...words, "-passphraseFile", join(backups, "pass"), path);
  expect(sealed.code).toBe(1);
  expect(sealed.stderr).toContain("it is not encrypted, so the passphrase does not tell who made");
  const unasked = await backup(...words, path);
  expect(unasked.code).toBe(1);
  expect(unasked.stderr).toContain("SHA-256 of the file");
  expect(unasked.stderr).toMatch(/X.509 active +: [0-9a-f]{40}/);
  expect(unasked.stderr).toContain("give -force if it is; nothing was changed");
  const command = [executable("ours", "spire-server"), "backup", ...words, path].join(" ");
  const asked = (answer: string): Promise<Finished> =>
    run(["script", "-qec", command, "/dev/null"], { input: `${answer}\n` });
  expect((await asked("y")).stdout).toContain("not restored: nothing was changed");
  expect(existsSync(join(data, "keys.json"))).toBe(false);
  expect(await asked("yes")).toMatchObject({ code: 0 });
  expect(existsSync(join(data, "keys.json"))).toBe(true);
});

test("what a restore replaces is kept, and the CA of the backup signs again", async () => {
  const server = await TestServer.start(stage, "ours");
  const active = async (): Promise<unknown> =>
    (await server.json("localauthority", "x509", "show"))["active"];
  const before = await active();
  const path = join(backups, "rotated");
  await backUp(server, path);
  const agent = await TestAgent.start(stage, "ours", server);
  const { prepared_authority: prepared } = await server.json("localauthority", "x509", "prepare");
  const authorityId = String((prepared as Record<string, unknown>)["authority_id"]);
  await server.cli("localauthority", "x509", "activate", "-authorityID", authorityId);
  expect(await active()).not.toEqual(before);

  const running = await backup("restore", "-force", "-config", server.configuration, path);
  expect(running).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/server\.lock is locked by process \d+; stop that one first/),
  });
  expect(await server.daemon.stop()).toBe(0);
  const refused = await backup("restore", "-force", "-config", server.configuration, path);
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("is there already: with -moveAside"),
  });
  const done = await restore(server, path, "-moveAside");
  const data = join(server.directory, "data");
  const aside = [...done.matchAll(/^What was there before: (\S+)$/gm)].map(([, name = ""]) => name);
  expect(aside.map((name) => name.replace(/\.before-restore-\d{8}T\d{6}Z$/, ""))).toEqual([
    join(data, "datastore.sqlite3"),
    join(data, "keys.json"),
  ]);
  // Once more, in the same second: nothing that was kept is replaced.
  await restore(server, path, "-moveAside");
  const kept = readdirSync(data).filter((name) => name.includes(".before-restore-"));
  expect(kept.length).toBe(2 * aside.length);
  expect(aside.every((name) => existsSync(name))).toBe(true);
  expect(readdirSync(data).filter((name) => /\.new$|restoring|unfinished/.test(name))).toEqual([]);
  await server.start();
  expect(await active()).toEqual(before);
  // The agent, which the backup does not know, knew both authorities, and so the server at once.
  expect(await agent.daemon.exited).toBe(1);
  expect(agent.daemon.lines.join("\n")).toContain("Agent failed re-attestation; removing SVID");
  await server.daemon.stop();
}, 90_000);

/** A server, and an agent whose SVID is signed by an authority that was activated after the backup. */
async function rotatedAway(
  name: string,
  prepare: "before the backup" | "after it",
): Promise<{ server: TestServer; agent: TestAgent; id: string; tokenFile: string; path: string }> {
  const server = await TestServer.start(stage, "ours", { settings: `agent_ttl = "12s"` });
  const path = join(backups, name);
  const tokenFile = join(stage.room("token"), "join-token");
  const token = await server.token();
  writeFileSync(tokenFile, token);
  const settings = `join_token_file = "${tokenFile}"`;
  const agent = await TestAgent.start(stage, "ours", server, { token: "", settings });
  const id = `spiffe://${TRUST_DOMAIN}/spire/agent/join_token/${token}`;
  await server.entry(idOf("kept"), id, ["unix:uid:1"]);
  await served(agent, "kept");
  if (prepare === "after it") await backUp(server, path);
  const { prepared_authority: prepared } = await server.json("localauthority", "x509", "prepare");
  const authorityId = String((prepared as Record<string, unknown>)["authority_id"]);
  if (prepare === "before the backup") await backUp(server, path);
  await server.cli("localauthority", "x509", "activate", "-authorityID", authorityId);
  // The first may have been under way when the authority took over.
  await lines(agent.daemon, "Successfully rotated agent SVID", 2, agent.daemon.lines.length);
  await server.daemon.stop();
  return { server, agent, id, tokenFile, path };
}

test("an agent goes on whose SVID is signed by an authority that the backup has as prepared", async () => {
  const { server, agent, id, path } = await rotatedAway("prepared", "before the backup");
  const from = agent.daemon.lines.length;
  await restore(server, path, "-moveAside");
  await server.start();
  await server.entry(idOf("made-after"), id, ["unix:uid:1"]);
  await served(agent, "kept", "made-after");
  await lines(agent.daemon, "Successfully rotated agent SVID", 1, from);
  expect(agent.daemon.lines.slice(from).join("\n")).not.toMatch(/re-?attest|cannot be verified/i);
  await server.daemon.stop();
}, 90_000);

test("an agent whose SVID a lost authority signed serves on, and joins again when it has run out", async () => {
  const { server, agent, id, tokenFile, path } = await rotatedAway("lost", "after it");
  await restore(server, path, "-moveAside");
  await server.start();
  const from = agent.daemon.lines.length;
  await agent.daemon.line((line) => line.includes("client certificate cannot be verified"));
  expect(await identities(agent)).toEqual([idOf("kept")]);
  const { value } = await server.json("agent", "rejoin", "-spiffeID", id);
  writeFileSync(tokenFile, String(value));
  await lines(agent.daemon, "Successfully reattested node", 1, from);
  await server.entry(idOf("made-after"), id, ["unix:uid:1"]);
  await served(agent, "kept", "made-after");
  await server.daemon.stop();
}, 90_000);

test("what root restores belongs to the owner of the directories, who runs it", async () => {
  const server = await TestServer.start(stage, "ours");
  const path = join(backups, "owned");
  await backUp(server, path);
  await server.daemon.stop();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const next = await freshMachine(stage, server);
  const data = join(next.directory, "data");
  chownSync(data, 1234, 1235);
  const configuration = join(next.directory, "restored.conf");
  await restore(next, path, "-configOutput", configuration);
  for (const name of readdirSync(data)) {
    const { uid, gid, mode } = statSync(join(data, name));
    expect({ name, uid, gid, mode: mode & 0o777 }).toEqual({
      name,
      uid: 1234,
      gid: 1235,
      mode: 0o600,
    });
  }
  expect(readFileSync(configuration, "utf8")).toBe(readFileSync(server.configuration, "utf8"));

  // The owner runs it, also after root made a backup of what was stopped.
  chownSync(next.directory, 1234, 1235);
  const log = join(next.directory, "log");
  const program = [executable("ours", "spire-server"), "run", "-config", next.configuration];
  for (const name of ["first", "second"]) {
    const daemon = stage.daemon(program, log, { uid: 1234 });
    await daemon.line((line) => line.includes("Starting Server APIs") && line.includes("unix"));
    expect(await daemon.stop()).toBe(0);
    await backUp(next, join(backups, name));
  }
}, 60_000);

test("a server without a configuration file, and one that keeps its keys in memory", async () => {
  const data = join(stage.room("zero"), "data");
  const program = executable("ours", "spire-server");
  const socket = join(data, "..", "api.sock");
  const daemon = stage.daemon(
    [
      program,
      "run",
      "-trustDomain",
      "zero.test",
      "-dataDir",
      data,
      "-socketPath",
      socket,
      "-bindAddress",
      "127.0.0.1",
      "-serverPort",
      "0",
    ],
    join(data, "../log"),
  );
  await daemon.line((line) => line.includes("Starting Server APIs") && line.includes("unix"));
  const path = join(backups, "zero");
  const made = await backup(
    "create",
    "-trustDomain",
    "zero.test",
    "-dataDir",
    data,
    "-output",
    path,
  );
  expect(made).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("keys.json, datastore.sqlite3\n"),
  });
  await daemon.stop();
  rmSync(data, { recursive: true });
  expect(await backup("restore", "-force", "-dataDir", data, path)).toMatchObject({ code: 0 });
  const other = await TestServer.prepare(stage, "ours");
  expect(await backup("restore", "-force", "-config", other.configuration, path)).toMatchObject({
    code: 1,
    stderr: `Error: backup ${path} is of trust domain zero.test, the configuration is of ${TRUST_DOMAIN}\n`,
  });

  const memory = await TestServer.start(stage, "ours", {
    keyManager: `KeyManager "memory" { plugin_data {} }`,
  });
  const inMemory = join(backups, "memory");
  expect(await backUp(memory, inMemory)).toContain(
    "Parts                : server.conf, datastore.sqlite3\n",
  );
  await memory.daemon.stop();
  await restore(memory, inMemory, "-moveAside");
  await memory.start();
  await memory.daemon.stop();
}, 60_000);

test("a restore that was broken off is repeated as it was typed, with -configOutput too", async () => {
  const server = await TestServer.start(stage, "ours");
  const path = join(backups, "repeated");
  await backUp(server, path);
  await server.daemon.stop();
  const next = await freshMachine(stage, server);
  const data = join(next.directory, "data");
  const output = join(next.directory, "from-backup.conf");
  const words = ["restore", "-force", "-dataDir", data, "-configOutput", output, path];
  expect(await backup(...words)).toMatchObject({ code: 0 });
  const note = join(data, "unfinished-restore.json");
  const broken = (): void =>
    writeFileSync(note, JSON.stringify({ suffix: ".before-restore-1", before: [] }));
  broken();
  expect(await backup(...words)).toMatchObject({ code: 0, stderr: "" });
  broken();
  writeFileSync(output, "another's");
  expect(await backup(...words)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`cannot write ${output}`),
  });
  expect(readFileSync(output, "utf8")).toBe("another's");
}, 60_000);

test("verify tells what is in a backup, and every damage", async () => {
  const settings = `experimental {\n feature_flags = ["wit-svid"]\n }`;
  const server = await TestServer.start(stage, "ours", { settings });
  await server.entry(idOf("a"), idOf("node"), ["unix:uid:1"]);
  await server.token();
  const path = join(backups, "verified");
  await backUp(server, path);
  const { code, stdout, stderr } = await backup("verify", "-output", "json", path);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({
    trust_domain: TRUST_DOMAIN,
    encrypted: false,
    key_manager: "disk",
    entries: 1,
    agents: 0,
    unused_join_tokens: 1,
    bundles: 1,
    authorities: [
      { kind: "x509", status: "active", key: "present" },
      { kind: "jwt", status: "active", key: "present" },
      { kind: "wit", status: "active", key: "present" },
    ],
    parts: [{ name: "keys.json" }, { name: "server.conf" }, { name: "datastore.sqlite3" }],
  });
  const chance = Chance.start("a damaged backup");
  const bytes = readFileSync(path);
  const damaged = join(backups, "damaged");
  for (let round = 0; round < 25; round += 1) {
    const at = chance.below(bytes.length);
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ (1 << chance.below(8));
    writeFileSync(damaged, copy);
    const verdict = await backup("verify", damaged);
    expect({ at, ...verdict }).toEqual({
      at,
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^Error: backup \S+ is damaged: |its first bytes are damaged/),
    });
  }
  // Keys of another server: each part is sound, and they do not fit together.
  const other = await TestServer.start(stage, "ours");
  await other.daemon.stop();
  const otherKeys = join(other.directory, "data", "keys.json");
  await server.daemon.stop();
  const keys = join(server.directory, "data", "keys.json");
  const own = readFileSync(keys);
  writeFileSync(keys, readFileSync(otherKeys));
  const mixed = await backup(
    "create",
    "-config",
    server.configuration,
    "-output",
    join(backups, "mixed"),
  );
  expect(mixed.stderr).toMatch(
    /keys\.json does not fit to datastore .*: the keys lack x509-CA-A, of the active X\.509 authority \w{40}; take the keys from a backup before the server is started anew/,
  );
  expect(existsSync(join(backups, "mixed"))).toBe(false);
  writeFileSync(keys, own);
  expect((await backup("create", "-config", server.configuration, "-output", path)).stderr).toBe(
    `Error: ${path} is there already: name another file, or give -overwrite\n`,
  );
  expect(readFileSync(path).equals(bytes)).toBe(true);
  await backUp(server, path, "-overwrite");
}, 90_000);

test("what the commands refuse", async () => {
  const answers: Record<string, string[]> = {
    "a file for the backup is required: -output FILE": ["create"],
    "-output is the file of the backup: write ./json if that is its name": [
      "create",
      "-output",
      "json",
    ],
    "the file of the backup is required, behind the flags": ["verify"],
    'what is "-output"? Flags go before the file of the backup': ["verify", "b", "-output", "json"],
    [`backup ${backups}/none: ENOENT: no such file or directory, open '${backups}/none'`]: [
      "verify",
      `${backups}/none`,
    ],
  };
  const zero = ["create", "-trustDomain", "x.test", "-dataDir", backups, "-output"];
  answers[
    `there is no datastore ${backups}/datastore.sqlite3: does the server keep it elsewhere?`
  ] = [...zero, `${backups}/b`];
  for (const [text, words] of Object.entries(answers)) {
    expect(await backup(...words)).toEqual({ code: 1, stdout: "", stderr: `Error: ${text}\n` });
  }
  const { code } = await run([executable("ours", "spire-server"), "backup"]);
  expect(code).toBe(1);
});
