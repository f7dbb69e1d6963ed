/** What the commands about entries do beyond the reference's: files that come back in, changes of a part, warnings of what nobody meant. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/process.ts";
import { executable, Stage, TestServer } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
const NODE = "spiffe://example.org/node-1";
const SERVER = "spiffe://example.org/spire/server";

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  await server.token("-spiffeID", NODE);
}, 60_000);
afterAll(() => stage.close(), 60_000);

interface Shown {
  readonly id: string;
  readonly revision_number: string;
  readonly created_at: string;
}

async function shown(...filter: string[]): Promise<Shown[]> {
  return (await server.json("entry", "show", ...filter))["entries"] as Shown[];
}

/** @returns what standard error had */
async function warned(words: readonly string[]): Promise<string> {
  const { code, stderr, stdout } = await server.cli(...words);
  expect({ code, stdout }).toMatchObject({ code: 0 });
  return stderr;
}

const create = (id: string, parent: string, ...more: string[]): Promise<string> =>
  warned(["entry", "create", "-spiffeID", id, "-parentID", parent, ...more]);

test("what entry show prints as JSON is what entry create and entry update read", async () => {
  const id = "spiffe://example.org/whole";
  await create(
    id,
    NODE,
    "-selector",
    "unix:uid:7",
    "-entryID",
    "whole",
    "-hint",
    "h",
    "-ttl",
    "1h",
    "-entryExpiry",
    "2040-01-31T12:00:00Z",
    "-dns",
    "a.test",
    "-jwtSVIDIncludeJTI",
    "-downstream",
  );
  const before = await server.json("entry", "show", "-entryID", "whole");
  const file = join(stage.directory, "whole.json");
  writeFileSync(file, JSON.stringify(before));
  expect(before).toMatchObject({ entries: [{ x509_svid_ttl: 3600, expires_at: "2211624000" }] });
  await warned(["entry", "update", "-data", file]);
  await server.cli("entry", "delete", "-entryID", "whole");
  await warned(["entry", "create", "-data", file]);
  const [now] = await shown("-entryID", "whole");
  const [was] = before["entries"] as Shown[];
  expect({ ...now, created_at: "" }).toEqual({ ...was, created_at: "" } as Shown);
});

test("lifetimes in a file may be durations", async () => {
  const file = join(stage.directory, "durations.json");
  const entry = {
    spiffe_id: "spiffe://example.org/d",
    parent_id: NODE,
    entry_id: "d",
    x509_svid_ttl: "1h30m",
    jwt_svid_ttl: 60,
    selectors: [{ type: "unix", value: "uid:8" }],
  };
  writeFileSync(file, JSON.stringify({ entries: [entry] }));
  await warned(["entry", "create", "-data", file]);
  expect(await shown("-entryID", "d")).toMatchObject([{ x509_svid_ttl: 5400, jwt_svid_ttl: 60 }]);
});

describe("entry update", () => {
  const id = "spiffe://example.org/kept";
  const update = (...words: string[]): Promise<string> =>
    warned(["entry", "update", "-entryID", "kept", ...words]);

  test("keeps what is not named", async () => {
    await create(
      id,
      NODE,
      "-selector",
      "unix:uid:9",
      "-entryID",
      "kept",
      "-hint",
      "h",
      "-dns",
      "a.test",
      "-ttl",
      "60",
      "-admin",
      "-disableX509SVIDPrefetch",
      "-jwtSVIDIncludeJTI",
    );
    const [before] = await shown("-entryID", "kept");
    expect(await update("-x509SVIDTTL", "2m")).toBe("");
    const [after] = await shown("-entryID", "kept");
    expect(after).toEqual({
      ...before,
      x509_svid_ttl: 120,
      revision_number: "1",
    } as unknown as Shown);
    await update("-dns", "", "-hint", "", "-admin=false", "-jwtSVIDIncludeJTI=false");
    expect(await shown("-entryID", "kept")).toMatchObject([
      {
        x509_svid_ttl: 120,
        dns_names: [],
        hint: "",
        admin: false,
        additional_attributes: { disable_x509_svid_prefetch: true, jwt_svid_include_jti: false },
      },
    ]);
    await update("-selector", "unix:uid:10", "-selector", "unix:gid:10");
    expect(await shown("-entryID", "kept")).toMatchObject([
      { x509_svid_ttl: 120, selectors: [{ value: "gid:10" }, { value: "uid:10" }] },
    ]);
  });

  test("that describes the entry anew clears the rest, as the reference does, and says so", async () => {
    await update("-hint", "h", "-dns", "a.test");
    const anew = ["-spiffeID", id, "-parentID", NODE, "-selector", "unix:uid:9"];
    expect(await update(...anew, "-dns", "b.test")).toBe(
      "Warning: the entry was described anew, so what was not given is cleared: -x509SVIDTTL, -hint, -disableX509SVIDPrefetch. To keep the rest, give only what changes.\n",
    );
    expect(await shown("-entryID", "kept")).toMatchObject([
      { x509_svid_ttl: 0, hint: "", dns_names: ["b.test"] },
    ]);
  });

  test.each([
    [["-entryID", "kept"], "nothing to change is given"],
    [["-entryID", "kept", "-spiffeID", ""], "a SPIFFE ID is required"],
    [["-entryID", "kept", "-parentID", "x"], "scheme is missing or invalid"],
    [["-hint", "x"], "entry ID is required"],
  ])("refuses %p", async (words, problem) => {
    expect(await server.cli("entry", "update", ...words)).toEqual({
      code: 1,
      stdout: "",
      stderr: `Error: ${problem}\n`,
    });
  });
});

describe("a warning, and success", () => {
  test.each([
    [
      "spiffe://example.org/node-2",
      "-selector",
      "unix:uid:1",
      `the parent spiffe://example.org/node-2 is neither an agent nor an alias of one: nobody gets this entry until it is; did you mean "${NODE}"?`,
    ],
    [
      "spiffe://example.org/elsewhere",
      "-selector",
      "unix:uid:1",
      "the parent spiffe://example.org/elsewhere is neither an agent nor an alias of one: nobody gets this entry until it is",
    ],
    [
      NODE,
      "-selector",
      "unix:udi:1",
      'selector "unix:udi:1": the attestor unix makes none of that name; did you mean "uid"?',
    ],
    [
      NODE,
      "-selector",
      "uinx:uid:1",
      'selector "uinx:uid:1": no attestor that is built in makes selectors of type "uinx"; did you mean "unix"?',
    ],
    [
      NODE,
      "-selector",
      "unix:path:/usr/bin/db",
      "unix:path without unix:uid or unix:user: every user who may run that program gets this identity",
    ],
    [
      SERVER,
      "-selector",
      "unix:uid:1",
      'selector "unix:uid:1" is one of workloads, and the entry is for nodes',
    ],
  ])("for an entry below %s %s %s", async (parent, flag, selector, words) => {
    const id = `spiffe://example.org/warned-${Bun.hash(words)}`;
    expect(await create(id, parent, flag, selector)).toBe(`Warning: ${words}\n`);
  });

  test("not for what is in order, an entry below an alias or for nodes", async () => {
    expect(await create("spiffe://example.org/fine", NODE, "-selector", "unix:uid:1")).toBe("");
    expect(
      await create("spiffe://example.org/alias", SERVER, "-selector", "x509pop:subject:cn:n"),
    ).toBe("");
    expect(
      await create(
        "spiffe://example.org/below",
        "spiffe://example.org/alias",
        "-selector",
        "unix:uid:1",
      ),
    ).toBe("");
  });

  test("for a second entry with one hint for the same workload, in the server's log as well", async () => {
    const hinted = ["-hint", "main"];
    expect(
      await create(
        "spiffe://example.org/a",
        NODE,
        "-selector",
        "unix:uid:20",
        "-entryID",
        "hint-a",
        ...hinted,
      ),
    ).toBe("");
    expect(
      await create("spiffe://example.org/b", NODE, "-selector", "unix:uid:21", ...hinted),
    ).toBe("");
    expect(
      await create(
        "spiffe://example.org/c",
        NODE,
        "-selector",
        "unix:uid:20",
        "-selector",
        "unix:gid:20",
        "-entryID",
        "hint-c",
        ...hinted,
      ),
    ).toBe(
      'Warning: entry hint-a (spiffe://example.org/a) has the hint "main" as well: a workload that both are for gets the older one alone\n',
    );
    const lines = server.daemon.lines.filter((line) => line.includes("have one hint"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(
      /level=warning .*registration_id=hint-c .*other_registration_id=hint-a|level=warning .*other_registration_id=hint-a .*registration_id=hint-c/,
    );
  });

  test("of entries in files, before they are applied", async () => {
    const directory = stage.room("declared");
    const alias = `{ spiffe_id: "spiffe://example.org/new-node", parent_id: "${SERVER}", selectors: ["x509pop:subject:cn:x"] }`;
    const below = `{ spiffe_id: "spiffe://example.org/w", parent_id: "spiffe://example.org/new-node", selectors: ["unix:uid:1"] }`;
    const typo = `{ spiffe_id: "spiffe://example.org/t", parent_id: "${NODE}", selectors: ["unix:gdi:1"] }`;
    writeFileSync(join(directory, "e.yaml"), `entries:\n  - ${alias}\n  - ${below}\n  - ${typo}\n`);
    const { code, stderr } = await server.cli("entry", "plan", "-set=s", directory);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr:
        'Warning: selector "unix:gdi:1": the attestor unix makes none of that name; did you mean "gid"?\n',
    });
  });
});

describe("entry show tells where an entry comes from", () => {
  /** What a person at a terminal sees. */
  async function seen(...words: string[]): Promise<string> {
    const command = [executable("ours", "spire-server"), ...words, "-socketPath", server.socket];
    const { stdout } = await run(["script", "-qec", command.join(" "), "/dev/null"], {
      env: { TERM: "xterm" },
    });
    return stdout.replaceAll("\r\n", "\n");
  }

  test("at a terminal and in JSON", async () => {
    const directory = stage.room("set");
    const file = `{ spiffe_id: "spiffe://example.org/declared", parent_id: "${NODE}", selectors: ["unix:uid:30"], entry_id: "declared" }`;
    writeFileSync(join(directory, "e.yaml"), `entries:\n  - ${file}\n`);
    const applied = await server.cli("entry", "apply", "-set=git", directory);
    expect(applied).toMatchObject({ code: 0, stderr: "" });
    await create(
      "spiffe://example.org/typed",
      NODE,
      "-selector",
      "unix:uid:30",
      "-entryID",
      "typed",
    );
    const table = await seen("entry", "show", "-selector", "unix:uid:30");
    const lines = table.split("\n").map((line) => line.split(/ {2,}/));
    const day = expect.stringMatching(/^\d{4}-\d\d-\d\d$/);
    expect(lines).toEqual([
      ["SPIFFE ID", "PARENT", "SELECTORS", "DECLARED", "SINCE", "ENTRY ID"],
      ["spiffe://example.org/declared", NODE, "unix:uid:30", "in set git", day, "declared"],
      ["spiffe://example.org/typed", NODE, "unix:uid:30", "no, typed", day, "typed"],
      [""],
    ]);
    const one = await seen("entry", "show", "-entryID", "declared");
    expect(one).toMatch(/^Declared {16}: in set git\nMade at {17}: \d{4}-/m);
    const [declared, typed] = await shown("-selector", "unix:uid:30");
    expect(declared).toMatchObject({ declared_set: "git" });
    expect(typed).not.toHaveProperty("declared_set");
    const { stdout } = await server.cli("entry", "show", "-selector", "unix:uid:30");
    expect(stdout).toStartWith("Found 2 entries\nEntry ID                : declared\n");
    expect(stdout).not.toContain("Declared");
  });
});
