/** Declared entries, as an operator lives with them: a directory that the server keeps to, and `entry plan` and `entry apply`. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, type Finished } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
let directory: string;

const NODE = "spiffe://example.org/node";

beforeAll(async () => {
  directory = stage.room("entries");
  writeFileSync(join(directory, "web.yaml"), declaring("web"));
  server = await TestServer.start(stage, "ours", keeping(directory));
}, 60_000);

afterAll(() => stage.close(), 60_000);

const keeping = (path: string): { settings: string } => ({
  settings: `entries_dir = "${path}"\n  audit_log_enabled = true`,
});

/** A YAML file of entries below the node; more keys of each entry go into braces. */
function declaring(...names: string[]): string {
  const entries = names.map(
    (name) =>
      `- {spiffe_id: "spiffe://example.org/${name}", parent_id: "${NODE}", selectors: ["unix:uid:0"]}`,
  );
  return entries.length === 0 ? "entries: []\n" : `entries:\n${entries.join("\n")}\n`;
}

/** By rename, as it is to be done. */
function put(name: string, text: string, where = directory): void {
  const draft = join(where, `.${name}.new`);
  writeFileSync(draft, text);
  renameSync(draft, join(where, name));
}

interface Shown {
  readonly id: string;
  readonly spiffe_id: { readonly path: string };
  readonly hint: string;
}

async function shown(of = server): Promise<readonly Shown[]> {
  return (await of.json("entry", "show"))["entries"] as Shown[];
}

async function paths(of = server): Promise<readonly string[]> {
  return (await shown(of)).map(({ spiffe_id }) => spiffe_id.path).sort();
}

function eventuallyPaths(wanted: readonly string[], of = server): Promise<true> {
  return eventually(`the entries are ${wanted.join(" ")}`, async () =>
    JSON.stringify(await paths(of)) === JSON.stringify(wanted) ? true : undefined,
  );
}

const declare = (word: "plan" | "apply", ...flagsAndDirectory: string[]): Promise<Finished> =>
  server.cli("entry", word, ...flagsAndDirectory);

test("what the files declare is there from the start, and follows them; what was typed stays", async () => {
  expect(await paths()).toEqual(["/web"]);
  await server.entry("spiffe://example.org/typed", NODE, ["unix:uid:0"]);
  put(
    "more.hcl",
    `entries {\n  spiffe_id = "spiffe://example.org/db"\n  parent_id = "${NODE}"\n  selectors = ["unix:uid:0"]\n}\n`,
  );
  await eventuallyPaths(["/db", "/typed", "/web"]);
  const web = (await shown()).find(({ spiffe_id }) => spiffe_id.path === "/web");
  put("web.yaml", declaring("web").replace("}", ', hint: "h"}'));
  await eventually("the entry changed", async () => {
    const now = (await shown()).find(({ spiffe_id }) => spiffe_id.path === "/web");
    return now?.hint === "h" && now.id === web?.id ? true : undefined;
  });
  rmSync(join(directory, "more.hcl"));
  await eventuallyPaths(["/typed", "/web"]);
  const line = server.daemon.lines.find((one) => one.includes("Declared entry changed"));
  expect(line).toMatch(
    /change=create .* declared_at="web.yaml:2:3" .* status=success .*type=audit/,
  );
}, 60_000);

test("a broken file changes nothing at all, and the log says where it is broken", async () => {
  const from = server.daemon.lines.length;
  // The one edit of two that is good must wait, too.
  put("broken.json", '{"entries": [{"spiffe_id": "spiffe://example.org/x", "ttl": 5}]}');
  put("web.yaml", declaring("web", "new"));
  const told = await server.daemon.line(
    (line) => line.includes("the present ones stay in place") && line.includes("broken.json"),
    30_000,
    from,
  );
  expect(told).toContain('broken.json:1:54: unknown key \\"ttl\\" in an entry');
  await server.daemon.stop();
  await server.start();
  expect(await paths()).toEqual(["/typed", "/web"]);
  rmSync(join(directory, "broken.json"));
  await eventuallyPaths(["/new", "/typed", "/web"]);
}, 60_000);

test("what is changed by hand is put back", async () => {
  const find = async (path: string): Promise<Shown | undefined> =>
    (await shown()).find(({ spiffe_id }) => spiffe_id.path === path);
  const before = await find("/web");
  const change = ["-entryID", before?.id ?? "", "-hint", "by hand", "-selector", "unix:uid:9"];
  const update = ["-spiffeID", "spiffe://example.org/web", "-parentID", NODE, ...change];
  expect((await server.cli("entry", "update", ...update)).code).toBe(0);
  await server.daemon.line((line) => line.includes("had been changed by hand"));
  expect(await find("/web")).toMatchObject({
    id: before?.id,
    hint: "",
    selectors: [{ type: "unix", value: "uid:0" }],
  });
  await server.cli("entry", "delete", "-entryID", (await find("/new"))?.id ?? "");
  await eventuallyPaths(["/new", "/typed", "/web"]);
}, 60_000);

test("a directory that vanishes, or is emptied, takes no entry away; a link that is swapped does", async () => {
  const moved = `${directory}-moved`;
  renameSync(directory, moved);
  await server.daemon.line((line) => line.includes("no such file or directory"));
  mkdirSync(directory, { mode: 0o755 });
  put("empty.yaml", declaring());
  await server.daemon.line((line) => line.includes("of 2 entries only 0 would be left"));
  expect(await paths()).toEqual(["/new", "/typed", "/web"]);
  rmSync(directory, { recursive: true });
  put("web.yaml", declaring("web", "linked"), moved);
  symlinkSync(moved, directory);
  await eventuallyPaths(["/linked", "/typed", "/web"]);
  const other = stage.room("other-entries");
  writeFileSync(join(other, "web.yaml"), declaring("web", "swapped"));
  symlinkSync(other, `${directory}.new`);
  renameSync(`${directory}.new`, directory);
  await eventuallyPaths(["/swapped", "/typed", "/web"]);
}, 90_000);

test("plan shows what apply does; what was typed is taken over by -adopt alone", async () => {
  const dir = stage.room("applied");
  writeFileSync(join(dir, "a.yaml"), declaring("typed", "b"));
  expect(await declare("plan", "-set", "site", dir)).toEqual({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(
      /^Error: rpc error: code = FailedPrecondition desc = entries are in the way, nothing was changed:\na\.yaml:2:3: spiffe:\/\/example\.org\/typed is there already, made by hand \(entry ID \S+\): take it over by -adopt, or delete it\n$/,
    ),
  });
  const plan = await declare("plan", "-adopt", "-detailedExitCode", "-set", "site", dir);
  expect(plan).toEqual({
    code: 2,
    stdout: expect.stringMatching(
      /^> spiffe:\/\/example\.org\/typed \(a\.yaml:2:3, entry ID \S+, made by hand\)\n\+ spiffe:\/\/example\.org\/b \(a\.yaml:3:3\)\n {4}parent_id: spiffe:\/\/example\.org\/node\n {4}selectors: unix:uid:0\n\n1 to create, 0 to update, 1 to take over, 0 to remove, 0 unchanged\n$/,
    ),
    // No agent has joined yet.
    stderr: expect.stringMatching(
      /^Warning: the parent spiffe:\/\/example\.org\/node is neither an agent nor an alias of one: [^\n]+\n$/,
    ),
  });
  expect(await paths()).toEqual(["/swapped", "/typed", "/web"]);
  const applied = await declare("apply", "-adopt", "-output", "json", "-set", "site", dir);
  expect(JSON.parse(applied.stdout)).toMatchObject({
    changes: [
      { action: "adopt", where: "a.yaml:2:3", taken_from: "", entry: { revision_number: "0" } },
      { action: "create", where: "a.yaml:3:3", entry: { spiffe_id: { path: "/b" } } },
    ],
    summary: { created: 1, adopted: 1, updated: 0, removed: 0, unchanged: 0 },
  });
  expect(await declare("plan", "-detailedExitCode", "-set", "site", dir)).toEqual({
    code: 0,
    stdout: "0 to create, 0 to update, 0 to take over, 0 to remove, 2 unchanged\n",
    stderr: "",
  });
  expect(await paths()).toEqual(["/b", "/swapped", "/typed", "/web"]);
}, 60_000);

test("apply refuses to empty a set unless it is told to, and everything that is wrong", async () => {
  const dir = stage.room("refused");
  writeFileSync(join(dir, "a.yaml"), declaring());
  const refused = await declare("apply", "-set", "site", dir);
  expect(refused).toEqual({
    code: 1,
    stdout: "",
    stderr:
      "Error: rpc error: code = FailedPrecondition desc = of 2 entries only 0 would be left, which may be a mistake: -allowRemoval lets it happen\n",
  });
  writeFileSync(join(dir, "a.yaml"), declaring("x").replace("example.org", "other.org"));
  expect((await declare("apply", "-set", "site", dir)).stderr).toContain(
    'desc = wrong declared entries, nothing was changed:\na.yaml:2:3: invalid spiffe ID: "spiffe://other.org/x" is not a member of trust domain "example.org"\n',
  );
  writeFileSync(join(dir, "a.yaml"), "entries: [\n");
  expect((await declare("apply", "-set", "site", dir)).stderr).toContain("Error: a.yaml:2:1: ");
  expect((await declare("apply", "-set", "no good", stage.room("none"))).stderr).toContain(
    "the name of a set has",
  );
  expect((await server.cli("entry", "apply")).stderr).toBe(
    "Error: a directory of declared entries is required\n",
  );
  writeFileSync(join(dir, "a.yaml"), declaring());
  expect((await declare("apply", "-allowRemoval", "-set", "site", dir)).stdout).toEndWith(
    "\n0 created, 0 updated, 0 taken over, 2 removed, 0 unchanged\n",
  );
  expect(await paths()).toEqual(["/swapped", "/web"]);
}, 60_000);

test("what entry show prints as JSON can be declared as it is", async () => {
  await server.entry(
    "spiffe://example.org/full",
    NODE,
    ["unix:uid:1", "unix:gid:2"],
    "-dns",
    "a.b",
    "-dns",
    "c.d",
    "-x509SVIDTTL",
    "60",
    "-entryExpiry",
    "4000000000",
    "-hint",
    "h",
    "-jwtSVIDIncludeJTI",
  );
  const dir = stage.room("exported");
  const exported = await server.cli(
    "entry",
    "show",
    "-spiffeID",
    "spiffe://example.org/full",
    "-output",
    "json",
  );
  writeFileSync(join(dir, "all.json"), exported.stdout);
  const planned = await declare("plan", "-adopt", "-output", "json", "-set", "exported", dir);
  const { changes } = JSON.parse(planned.stdout) as {
    changes: { entry: object; before: object }[];
  };
  expect(changes).toHaveLength(1);
  expect(changes[0]?.entry).toEqual(changes[0]?.before ?? {});
  await server.cli(
    "entry",
    "delete",
    "-entryID",
    (await shown()).find(({ hint }) => hint === "h")?.id ?? "",
  );
}, 60_000);

test("a workload that waits gets what is declared, and loses what is not", async () => {
  const agent = await TestAgent.start(stage, "ours", server);
  const words = ["api", "watch", "-socketPath", agent.socket];
  put("web.yaml", declaring("web", "waiting").replaceAll(NODE, agent.id));
  const watch = stage.daemon(
    [executable("ours", "spire-agent"), ...words],
    join(agent.directory, "watch.log"),
  );
  await watch.line((line) => line.includes("spiffe://example.org/waiting"));
  const from = watch.lines.length;
  put("web.yaml", declaring("web", "next").replaceAll(NODE, agent.id));
  await watch.line((line) => line.includes("spiffe://example.org/next"), 30_000, from);
  expect(watch.running).toBe(true);
}, 60_000);

test("SIGHUP looks at once, and a server that is killed in the middle goes on where it was", async () => {
  const dir = stage.room("many");
  const many = Array.from({ length: 3000 }, (_, number) => `w${number}`);
  writeFileSync(join(dir, "many.yaml"), declaring(...many));
  const other = await TestServer.prepare(stage, "ours", keeping(dir));
  const killed = other.launch();
  await killed.line((line) => line.includes("Declared entry changed"));
  await killed.kill();
  await other.start();
  const line = await other.daemon.line((one) => one.includes('"Declared entries match the files"'));
  const [, created] = / created=(\d+) /.exec(line) ?? [];
  const [, unchanged] = / unchanged=(\d+) /.exec(line) ?? [];
  expect(Number(created)).toBeGreaterThan(0);
  expect(Number(unchanged)).toBeGreaterThan(0);
  expect(Number(created) + Number(unchanged)).toBe(3000);
  expect((await other.cli("entry", "count")).stdout).toBe("3000 registration entries\n");
  const from = other.daemon.lines.length;
  other.daemon.signal("SIGHUP");
  await other.daemon.line((one) => one.includes("unchanged=3000"), 30_000, from);
}, 120_000);

test("what stands in the way is waited for: a bundle that comes, an entry that goes", async () => {
  const typed = await server.entry("spiffe://example.org/conflict", NODE, ["unix:uid:0"]);
  const waits = declaring("web", "conflict", "partner").replace(
    /(partner.*)}/,
    "$1, federates_with: [other.org]}",
  );
  put("web.yaml", waits);
  await server.daemon.line((line) =>
    line.includes('web.yaml:4:3: unable to find federated bundle \\"spiffe://other.org\\"'),
  );
  const { stdout: input } = await server.cli("bundle", "show", "-format", "spiffe");
  const words = ["bundle", "set", "-id", "spiffe://other.org", "-format", "spiffe"];
  expect((await server.cliOf("ours", words, { input })).code).toBe(0);
  const told = await server.daemon.line((line) => line.includes("web.yaml:3:3: "));
  expect(told).toContain("spire-server entry apply -set entries_dir");
  expect(await paths()).not.toContain("/partner");
  await server.cli("entry", "delete", "-entryID", typed);
  await eventuallyPaths(["/conflict", "/partner", "/web"]);
}, 60_000);
