/**
 * No key of the reference's is overlooked: each one that its documents or its source name has a row in docs/CONFIGURATION.md, and does
 * what the row says. It works; or it is taken with a note that says why it is not needed; or it is refused by name.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadAgentConfig } from "#agent/config/config.ts";
import { loadServerConfig } from "#server/config/config.ts";
import { errorText } from "#spiffe/status-error.ts";
import { documentedStates, type KeyState } from "../support/documented-keys.ts";
import {
  type FileKind,
  type KeyPath,
  referenceKeys,
  shownPath,
} from "../support/reference-keys.ts";
import { ReferenceSource } from "../support/reference-source.ts";

const states = documentedStates();

/** A row for a block that is refused stands for all that is in it. */
function rowOf(path: KeyPath): readonly [path: KeyPath, state: KeyState] | undefined {
  const state = states.get(shownPath(path));
  if (state !== undefined) return [path, state];
  for (let length = path.length - 1; length > 0; length--) {
    const around = path.slice(0, length);
    if (states.get(shownPath(around)) === "refused") return [around, "refused"];
  }
  return undefined;
}

interface Tree {
  [key: string]: unknown;
}

const BASE: Readonly<Record<FileKind, Tree>> = {
  server: {
    server: { trust_domain: "example.org", data_dir: "/tmp/y" },
    plugins: {
      DataStore: {
        sql: { plugin_data: { database_type: "sqlite3", connection_string: "/tmp/y/db" } },
      },
      KeyManager: { disk: { plugin_data: { keys_path: "/tmp/y/keys.json" } } },
      NodeAttestor: { join_token: { plugin_data: {} } },
    },
  },
  agent: {
    agent: {
      trust_domain: "example.org",
      server_address: "127.0.0.1",
      server_port: 8081,
      insecure_bootstrap: true,
    },
    plugins: {
      KeyManager: { disk: { plugin_data: { directory: "/tmp/y" } } },
      NodeAttestor: { join_token: { plugin_data: {} } },
      WorkloadAttestor: { unix: { plugin_data: {} } },
    },
  },
};

/** Values of keys that are not needed, which are looked at all the same; any other key gets a duration. */
const VALUES: Readonly<Record<string, unknown>> = {
  InMem: {},
  events_based_cache: true,
  log_source_location: true,
  max_idle_conns: 3,
  max_open_conns: 3,
  plugin_args: ["-x"],
  profiling_freq: 10,
  profiling_names: ["heap"],
  profiling_port: 6060,
  use_sync_authorized_entries: true,
};

const LABELS: Readonly<Record<string, string>> = {
  KIND: "NodeAttestor",
  '"NAME"': "join_token",
  '"TRUST-DOMAIN"': "other.example",
};

function fileWith(kind: FileKind, path: KeyPath): Tree {
  const file = structuredClone(BASE[kind]);
  const names = path.map((part) => LABELS[part] ?? part.replaceAll('"', ""));
  const last = names.pop() ?? "";
  let at = file;
  for (const name of names) {
    // An agent has one of them.
    if (kind === "agent" && at === file["plugins"] && name === "NodeAttestor") at[name] = {};
    if (typeof at[name] !== "object") at[name] = {};
    at = at[name] as Tree;
  }
  at[last] = VALUES[last] ?? (path.at(-1)?.startsWith('"') ? {} : "1h");
  return file;
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spire-keys-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What reading the file says: problems, or notes when there are none. */
async function verdict(kind: FileKind, file: Tree): Promise<{ problems: string; notes: string }> {
  const path = join(directory, `${kind}.conf`);
  writeFileSync(path, JSON.stringify(file, undefined, 2));
  const load = kind === "server" ? loadServerConfig : loadAgentConfig;
  try {
    const { notes } = await load({ config: path });
    return { problems: "", notes: notes.join("\n") };
  } catch (error) {
    return { problems: errorText(error), notes: "" };
  }
}

const source = await ReferenceSource.find();

describe.each(["server", "agent"] as const)("keys of %s.conf", (kind) => {
  const keys = referenceKeys(source, kind).filter((path) => path.length > 1);

  test("there are many", () => {
    expect(keys.length).toBeGreaterThan(100);
  });

  test.each(keys.map((path) => [shownPath(path), path] as const))("%s", async (_, path) => {
    const row = rowOf(path);
    if (row === undefined) throw new Error("it has no row in docs/CONFIGURATION.md");
    const [shown, state] = row;
    const key = shown.at(-1)?.replaceAll('"', "") ?? "";
    const { problems, notes } = await verdict(kind, fileWith(kind, shown));
    expect(problems).not.toContain("unknown configuration detected");
    const said = {
      works:
        !/not supported|no built-in plugin/.test(problems) &&
        !notes.includes(`${key} is not needed`),
      "not needed": notes.includes(`${key} is not needed: `),
      refused: new RegExp(`^.*\\.conf:\\d+: .*\\b${key}\\b`, "m").test(problems),
    };
    expect({ state, said: said[state], problems, notes }).toMatchObject({ state, said: true });
  });
});

test("the document has no row for a key that the reference does not have", () => {
  const known = (["server", "agent"] as const).flatMap((kind) => referenceKeys(source, kind));
  const names = new Set(known.map(shownPath));
  expect([...states.keys()].filter((key) => !names.has(key))).toEqual([]);
});
