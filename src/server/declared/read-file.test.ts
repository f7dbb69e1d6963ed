import { describe, expect, test } from "bun:test";
import { ConfigError } from "#config/config-error.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { readDeclaredFile } from "./read-file.ts";

const FULL: Entry = {
  ...Entry.fromPartial({}),
  id: "web-1",
  spiffeId: { trustDomain: "example.org", path: "/web" },
  parentId: { trustDomain: "example.org", path: "/node" },
  selectors: [
    { type: "unix", value: "uid:1000" },
    { type: "unix", value: "path:/a:b" },
  ],
  x509SvidTtl: 3600,
  jwtSvidTtl: 60,
  federatesWith: ["other.org"],
  admin: true,
  downstream: false,
  expiresAt: 2_000_000_000,
  dnsNames: ["web.local"],
  hint: "web",
  additionalAttributes: { disableX509SvidPrefetch: true, jwtSvidIncludeJti: false },
};

const HCL = `# the web
entries {
  entry_id = "web-1"
  spiffe_id = "spiffe://example.org/web"
  parent_id = "spiffe://example.org/node"
  selectors = ["unix:uid:1000", { type = "unix" value = "path:/a:b" }]
  x509_svid_ttl = 3600
  jwt_svid_ttl = "1m"
  federates_with = ["other.org"]
  admin = true
  entry_expiry = 2000000000
  dns_names = ["web.local"]
  hint = "web"
  additional_attributes { disable_x509_svid_prefetch = true }
}
`;

const YAML = `# the web
entries:
- entry_id: web-1
  spiffe_id: spiffe://example.org/web
  parent_id: spiffe://example.org/node
  selectors:
  - unix:uid:1000
  - {type: unix, value: "path:/a:b"}
  x509_svid_ttl: 1h
  jwt_svid_ttl: 60
  federates_with: [other.org]
  admin: true
  entry_expiry: 2000000000
  dns_names: [web.local]
  hint: web
  additional_attributes: {disable_x509_svid_prefetch: true}
`;

const JSON_TEXT = JSON.stringify({
  entries: [
    {
      id: "web-1",
      spiffe_id: { trust_domain: "example.org", path: "/web" },
      parent_id: { trust_domain: "example.org", path: "/node" },
      selectors: [
        { type: "unix", value: "uid:1000" },
        { type: "unix", value: "path:/a:b" },
      ],
      x509_svid_ttl: 3600,
      jwt_svid_ttl: 60,
      federates_with: ["other.org"],
      admin: true,
      downstream: false,
      expires_at: "2000000000",
      dns_names: ["web.local"],
      hint: "web",
      revision_number: "4",
      created_at: "1700000000",
      additional_attributes: { disable_x509_svid_prefetch: true, jwt_svid_include_jti: false },
    },
  ],
  next_page_token: "",
});

describe("a file of declared entries", () => {
  test.each([
    ["web.hcl", HCL, "web.hcl:2:9"],
    ["web.yaml", YAML, "web.yaml:3:3"],
    ["web.json", JSON_TEXT, "web.json:1:13"],
  ])("%s means the same in every syntax", (file, text, where) => {
    expect(readDeclaredFile(text, file)).toEqual([{ entry: FULL, where }]);
  });

  test("HCL may also have a list, JSON keys in any case, and YAML its other ending", () => {
    const rest = '"parent_id": "spiffe://a/n", "selectors": ["a:b"]';
    expect(
      readDeclaredFile(
        `entries = [{ spiffe_id = "spiffe://a/b" parent_id = "spiffe://a/n" selectors = ["a:b"] }]`,
        "x.HCL",
      ),
    ).toHaveLength(1);
    expect(
      readDeclaredFile(`{"Entries": [{"SPIFFE_ID": "spiffe://a/b", ${rest}}]}`, "x.json"),
    ).toHaveLength(1);
    expect(readDeclaredFile("entries: []", "x.yml")).toEqual([]);
  });

  const inYaml = (line: string): string =>
    `entries:\n- spiffe_id: spiffe://a/b\n  parent_id: spiffe://a/n\n  selectors: [a:b]\n  ${line}\n`;
  test.each([
    ["x.yaml", inYaml("ttl: 5"), 'x.yaml:5:3: unknown key "ttl" in an entry'],
    [
      "x.yaml",
      inYaml("x509_svid_ttl: -1"),
      "x.yaml:5:18: x509_svid_ttl: must be a whole number from 0 to 2147483647",
    ],
    ["x.yaml", inYaml("x509_svid_ttl: 1d"), "x.yaml:5:18: x509_svid_ttl: must be a whole number"],
    [
      "x.yaml",
      inYaml("x509_svid_ttl: 1h-m"),
      "x.yaml:5:18: x509_svid_ttl: must be seconds from 0 to 2147483647, or a duration such as 1h30m",
    ],
    [
      "x.yaml",
      inYaml("jwt_svid_ttl: 2147483648"),
      "x.yaml:5:17: jwt_svid_ttl: must be a whole number",
    ],
    ["x.yaml", inYaml("admin: yes"), "x.yaml:5:10: admin: must be true or false"],
    ["x.yaml", inYaml("hint: 5"), "x.yaml:5:9: hint: must be a text, in quotation marks"],
    ["x.yaml", inYaml("dns_names: a"), "x.yaml:5:14: dns_names: must be a list"],
    ["x.yaml", inYaml("Parent_ID: spiffe://a/c"), "x.yaml:5:3: Parent_ID is given twice"],
    ["x.yaml", inYaml("id: a\n  entry_id: b"), "x.yaml:6:3: entry_id is given twice"],
    [
      "x.yaml",
      inYaml("expires_at: 1\n  entry_expiry: 2"),
      "x.yaml:6:3: entry_expiry is given twice",
    ],
    [
      "x.yaml",
      inYaml("additional_attributes: {a: true}"),
      'x.yaml:5:27: additional_attributes: unknown key "a"',
    ],
    [
      "x.yaml",
      "entries:\n- spiffe_id: http://a/b\n  parent_id: spiffe://a/n\n  selectors: [a:b]\n",
      "x.yaml:2:14: spiffe_id: scheme is missing or invalid",
    ],
    [
      "x.yaml",
      "entries:\n- spiffe_id: spiffe://a/b\n  parent_id: ~\n  selectors: [a, {type: b}]\n",
      'x.yaml:4:15: selectors: selector "a" must be formatted as type:value\nx.yaml:2:3: parent_id is missing',
    ],
    [
      "x.yaml",
      "entries:\n- spiffe_id: spiffe://a/b\n  parent_id: spiffe://a/n\n  selectors: [{type: b}]\n",
      "x.yaml:4:15: selectors: value is missing",
    ],
    ["x.yaml", "entries: [5]", "x.yaml:1:11: entries: must be a list of objects"],
    ["x.yaml", "entry: []", 'x.yaml:1:1: unknown key "entry"; "entries" is wanted'],
    ["x.yaml", "", 'x.yaml:1:1: "entries" is missing'],
    ["x.hcl", "", 'x.hcl:1:1: "entries" is missing'],
    ["x.hcl", "entries {\n  admin = true\n", 'x.hcl:3:1: "}" missing at the end'],
    ["x.hcl", 'entries {\n  hint = "a\n}', "x.hcl:2:10: "],
    ["x.json", "entries {}", "x.json:1:1: JSON must be an object"],
    ["x.json", '{"entries": [{"spiffe_id": }]}', "x.json:1:28: "],
    ["x.json", "{}", 'x.json:1:1: "entries" is missing'],
    ["x.toml", "", "x.toml: not one of .hcl, .conf, .json, .yaml, .yml"],
  ])("%s that is broken says where (%#)", (file, text, problem) => {
    const read = (): unknown => readDeclaredFile(text, file);
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(problem);
  });
});
