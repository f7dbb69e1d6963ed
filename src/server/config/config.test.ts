import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorText } from "#spiffe/status-error.ts";
import { loadServerConfig, type ServerConfig, type ServerRunFlags } from "./config.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spire-config-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** @param keys of the server block, from line 4 on @param keyManager its plugin block */
function load(
  keys: string,
  flags: ServerRunFlags = {},
  keyManager = 'KeyManager "memory" {}',
): Promise<ServerConfig> {
  const path = join(directory, "server.conf");
  writeFileSync(
    path,
    `server {
  trust_domain = "example.org"
  data_dir = "data"
  ${keys}
}
plugins {
  ${keyManager}
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "db"
    }
  }
}`,
  );
  return loadServerConfig({ config: path, ...flags });
}

async function problemsOf(...given: Parameters<typeof load>): Promise<string> {
  const outcome = await load(...given).then(
    () => undefined,
    (error: unknown) => errorText(error),
  );
  if (outcome === undefined) throw new Error("was accepted");
  return outcome.replaceAll(`${directory}/`, "");
}

test.each([
  ["", "0.0.0.0"],
  ['bind_address = "10.0.0.1"', "10.0.0.1"],
  ['bind_address = "[::1]"', "::1"],
  ['bind_address = "spire.example"', "spire.example"],
])("%s listens on %s", async (keys, address) => {
  expect((await load(keys)).bindAddress).toBe(address);
});

test("a flag wins over its key, which is no stranger then", async () => {
  const given = { dataDir: "/data", socketPath: "/flag/api.sock", entriesDir: "/entries" };
  const { dataDir, socketPath, entriesDir } = await load(
    'socket_path = "/key/api.sock"\n entries_dir = "/key"',
    given,
  );
  expect({ dataDir, socketPath, entriesDir }).toEqual(given);
});

test("a flag wins over the key of the address", async () => {
  const { bindAddress, bindPort } = await load('bind_address = "10.0.0.1"\n bind_port = 1', {
    bindAddress: "10.0.0.2",
    serverPort: 2,
  });
  expect([bindAddress, bindPort]).toEqual(["10.0.0.2", 2]);
});

test("an empty subject is told of, and the default is used", async () => {
  const { caSubject, notes } = await load("ca_subject {}");
  expect(caSubject).toEqual({ country: ["US"], organization: ["SPIFFE"], commonName: "" });
  expect(notes).toEqual([expect.stringMatching(/:4: ca_subject is empty/)]);
});

test("what is not needed is told of with its line, what asks for nothing is not", async () => {
  const { notes } = await load(
    'max_attested_node_info_staleness = "5s"\n  experimental { events_based_cache = false }',
  );
  expect(notes).toEqual([
    expect.stringMatching(/server.conf:4: max_attested_node_info_staleness is not needed: ./),
  ]);
});

test("WIT-SVIDs are switched on by their feature flag; without it, their keys are checked and told of", async () => {
  const flag = 'feature_flags = ["i_am_a_test_flag", "wit-svid"]';
  const { experimental, warnings } = await load(`experimental { ${flag} }`);
  expect(experimental.witSvids).toEqual({ keyType: undefined, issuer: "" });
  expect(warnings).toContainEqual(expect.stringContaining("feature flag wit-svid is on"));
  const keys = 'wit_key_type = "RSA-2048"\n wit_issuer = "https://a"';
  const all = await load(`experimental {\n ${flag}\n ${keys}\n }`);
  expect(all.experimental.witSvids).toEqual({ keyType: "rsa-2048", issuer: "https://a" });
  const off = await load(`experimental {\n ${keys}\n }`);
  expect(off.experimental.witSvids).toBeUndefined();
  expect(off.notes).toEqual([
    expect.stringMatching(/:5: wit_key_type does nothing without the feature flag wit-svid$/),
    expect.stringMatching(/:6: wit_issuer does nothing without the feature flag wit-svid$/),
  ]);
  expect(await problemsOf('experimental { wit_key_type = "ec-p521" }')).toStartWith(
    'server.conf:4: error parsing wit_key_type "ec-p521": key type "ec-p521" is unknown',
  );
});

test.each([
  ["experimental { auth_opa_policy_engine { local {} } }", "auth_opa_policy_engine"],
  ["profiling_enabled = true", "profiling_enabled"],
])("%s would not happen, and is refused", async (keys, what) => {
  expect(await problemsOf(keys)).toStartWith(`server.conf:4: ${what} is not supported: `);
});

test.each([
  ['experimental { feature_flags = ["x"] }', "server.conf:4: unknown feature flag(s): x"],
  ["experimental { unknown = 1 }", 'server.conf:4: unknown configuration detected: key "unknown"'],
  [
    'proxy_protocol_trusted_cidrs = ["::1/128", "x"]',
    'server.conf:4: proxy_protocol_trusted_cidrs: "x" is not a network, such as 10.0.0.0/8',
  ],
  ['experimental { event_timeout = "x" }', 'server.conf:4: could not parse event_timeout "x"'],
  [
    'experimental { events_based_cache = "x" }',
    "server.conf:4: events_based_cache must be true or false",
  ],
])("%s is a mistake", async (keys, problem) => {
  expect(await problemsOf(keys)).toStartWith(problem);
});

describe("plugin_data_file", () => {
  const fromFile = (content: string, more = ""): string => {
    const path = join(directory, "keys.conf");
    writeFileSync(path, content);
    return `KeyManager "disk" {\n plugin_data_file = "${path}"\n ${more} }`;
  };

  test("has what would be in plugin_data", async () => {
    const { plugins } = await load("", {}, fromFile('keys_path = "k.json"'));
    expect(plugins.keyManager).toMatchObject({ name: "disk", keysPath: "k.json" });
  });

  test.each([
    [
      'keys_path = "k"\nkey_path = "k"',
      "",
      'keys.conf:2: unknown configuration detected: key "key_path"',
    ],
    ["keys_path = ", "", 'server.conf:8: plugin_data_file of KeyManager "disk": keys.conf:1:13:'],
    [
      'keys_path = "k"',
      "plugin_data {}",
      "only one of plugin_data and plugin_data_file can be used",
    ],
  ])("%j is refused where it stands", async (content, more, problem) => {
    expect(await problemsOf("", {}, fromFile(content, more))).toContain(problem);
  });

  test("that is not there is named", async () => {
    const plugin = 'KeyManager "disk" { plugin_data_file = "/nonexistent/x" }';
    expect(await problemsOf("", {}, plugin)).toMatch(
      /server.conf:7: plugin_data_file of KeyManager "disk": .*\/nonexistent\/x/,
    );
  });
});

test("a file that is not UTF-8 is refused, not misread", async () => {
  const path = join(directory, "latin1.conf");
  writeFileSync(path, Buffer.from("server { # caf\xe9\n}", "latin1"));
  const outcome = await loadServerConfig({ config: path }).catch(errorText);
  expect(outcome).toContain("it is not text in UTF-8");
});

test("ca_ttl says nothing of X509-SVIDs below a CA that is signed by hand", async () => {
  const keys = `default_x509_svid_ttl = "12h"\ndefault_jwt_svid_ttl = "12h"`;
  const warned = async (plugins: string): Promise<string[]> =>
    (await load(keys, {}, plugins)).warnings.map((text) => text.replace(/ .*/, ""));
  const memory = 'KeyManager "memory" {}';
  expect(await warned(memory)).toEqual([
    "default_x509_svid_ttl",
    "default_jwt_svid_ttl",
    "agent_ttl",
  ]);
  const offline = `${memory}\nUpstreamAuthority "offline" { plugin_data {} }`;
  expect(await warned(offline)).toEqual(["default_jwt_svid_ttl"]);
});
