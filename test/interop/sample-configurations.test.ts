/**
 * The reference's own examples: its configuration files, and every piece of HCL in its documents. Ours takes them, or refuses what
 * docs/CONFIGURATION.md says is refused, and nothing else.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseHcl } from "#config/hcl.ts";
import { errorText } from "#spiffe/status-error.ts";
import { documentedStates } from "../support/documented-keys.ts";
import { run } from "../support/process.ts";
import type { FileKind } from "../support/reference-keys.ts";
import { ReferenceSource } from "../support/reference-source.ts";
import { executable, GO_CLIENT } from "../support/spire.ts";

const source = await ReferenceSource.find();

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spire-samples-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** The last part of the key of each row that says refused. */
const refused = [...documentedStates()].flatMap(([key, state]) =>
  state === "refused" ? [key.replaceAll('"', "").split(/[. ]/).at(-1) ?? ""] : [],
);

/** Lines of what `validate` says that no refused key or plugin explains. */
async function unexplained(kind: FileKind, path: string, cwd: string): Promise<readonly string[]> {
  const command = [executable("ours", `spire-${kind}`), "validate", "-config", path];
  const { code, stdout, stderr } = await run(command, { cwd });
  if (code === 0) {
    expect(stdout).toBe(`SPIRE ${kind} configuration file is valid.\n`);
    return [];
  }
  const lines = stderr.replace(`SPIRE ${kind} configuration file is invalid: `, "").trimEnd();
  const explains = (line: string): boolean =>
    refused.some((name) => new RegExp(`:\\d+: .*(?<![\\w-])${name}(?![\\w-])`).test(line)) ||
    /: unsupported database_type: (postgres|mysql)/.test(line) ||
    // Where a document means any plugin.
    /unknown configuration detected: key "(SomeType|pluginType)"/.test(line);
  const all = lines.split("\n");
  expect(all.some(explains)).toBe(true);
  // A plugin that is refused leaves its place empty.
  return all.filter(
    (line) => !explains(line) && !line.includes("constraint not satisfied: expected"),
  );
}

const files = (["server", "agent"] as const).flatMap((kind) =>
  source
    .files(`conf/${kind}`)
    .filter((file) => file.endsWith(".conf"))
    .map((file) => [kind, file] as const),
);

test.each(files)("conf/%s/%s", async (kind, file) => {
  const path = source.path(`conf/${kind}/${file}`);
  expect(await unexplained(kind, path, source.path("."))).toEqual([]);
});

const VALID = ["server.conf", "server_container.conf", "agent.conf", "agent_container.conf"];
test.each(files.filter(([, file]) => VALID.includes(file)))(
  "conf/%s/%s is valid",
  async (kind, file) => {
    const path = source.path(`conf/${kind}/${file}`);
    const command = [executable("ours", `spire-${kind}`), "validate", "-config", path];
    expect((await run(command, { cwd: source.path(".") })).code).toBe(0);
  },
);

const BLOCKS: Readonly<Record<FileKind, Readonly<Record<string, string>>>> = {
  server: {
    server: 'trust_domain = "example.org"\n data_dir = "/tmp/y"',
    DataStore:
      'sql { plugin_data { database_type = "sqlite3"\n connection_string = "/tmp/y/db" } }',
    KeyManager: "memory {}",
  },
  agent: {
    agent:
      'trust_domain = "example.org"\n server_address = "127.0.0.1"\n server_port = 8081\n trust_bundle_path = "/tmp/y/bundle.pem"',
    KeyManager: "memory {}",
    NodeAttestor: "join_token {}",
    WorkloadAttestor: "unix {}",
  },
};
const PLUGIN_KINDS =
  /^(DataStore|KeyManager|NodeAttestor|WorkloadAttestor|UpstreamAuthority|Notifier|BundlePublisher|CredentialComposer|SVIDStore)$/;

/** A whole file around a piece of one; undefined for what belongs to no file of ours, or is a line out of a block. */
function completed(kind: FileKind, piece: string): string | undefined {
  const keys = parseHcl(piece, "piece").entries.map(({ key }) => key);
  const inPlugins = keys.every((key) => PLUGIN_KINDS.test(key));
  const top = [kind, "plugins", "telemetry", "health_checks"];
  if (keys.length === 0 || !(inPlugins || keys.every((key) => top.includes(key)))) return undefined;
  const text = inPlugins ? `plugins {\n${piece}\n}` : piece;
  const read = parseHcl(text, "piece").entries;
  const there = read.flatMap(({ key, value }) =>
    key === "plugins" && value.kind === "object" ? value.entries.map((entry) => entry.key) : [key],
  );
  const missing = Object.entries(BLOCKS[kind])
    .filter(([name]) => name === kind || !there.includes(name))
    .map(([name, inner]) =>
      PLUGIN_KINDS.test(name) ? `plugins {\n${name} { ${inner} }\n}` : `${name} {\n${inner}\n}`,
    );
  // What the piece says comes last, and so counts.
  return [...missing, text].join("\n");
}

describe.each(["server", "agent"] as const)("documents of the %s", (kind) => {
  const other = kind === "server" ? "agent" : "server";
  const pieces = ["doc", "doc/telemetry"].flatMap((folder) =>
    source
      .files(folder)
      .filter((file) => file.endsWith(".md") && !file.includes(`_${other}`))
      .flatMap((file) =>
        source
          .codeBlocks(`${folder}/${file}`, "hcl")
          .map((piece, index) => [`${file} ${index + 1}`, piece] as const),
      ),
  );

  test("there are many", () => expect(pieces.length).toBeGreaterThan(40));

  test.each(pieces)("%s", async (_, piece) => {
    let text: string | undefined;
    try {
      text = completed(kind, piece);
    } catch (error) {
      // Some pieces have an ellipsis where more would be: the reference cannot read them either.
      const { stdout } = await run([GO_CLIENT, "hcl"], { input: JSON.stringify([piece]) });
      expect({ piece, problem: errorText(error), stdout }).toMatchObject({
        stdout: expect.stringContaining('{"error":'),
      });
      return;
    }
    if (text === undefined) return;
    const path = join(directory, `${kind}.conf`);
    writeFileSync(path, text);
    expect({ text, problems: await unexplained(kind, path, directory) }).toEqual({
      text,
      problems: [],
    });
  });
});
