/** Configuration from outside: HCL, JSON, YAML, declared entries, durations, templates. Damaged ones are refused, and soon. */
import { expect, test } from "bun:test";
import { ConfigError } from "#config/config-error.ts";
import { formatDuration, parseDuration } from "#config/duration.ts";
import { parseHcl } from "#config/hcl.ts";
import { Template } from "#config/template/template.ts";
import { TemplateError } from "#config/template/values.ts";
import { parseYaml } from "#config/yaml.ts";
import { readDeclaredFile } from "#server/declared/read-file.ts";
import { attempt, damagedText, FUZZ_TIMEOUT_MS, fuzz } from "../support/fuzzing.ts";

const HCL = [
  `server {
  trust_domain = "example.org" # comment
  bind_port = 0x1F91
  admin_ids = ["spiffe://example.org/a", /* b */ "c",]
  federation { federates_with "td" { bundle_endpoint_profile "https_web" {} } }
}
plugins { KeyManager "disk" { plugin_data { keys_path = <<-END
    a
    END
} } }`,
  '{"server": {"trust_domain": "example.org", "list": [1, 2.5, {"a": null}], "b": true}}',
];
const HCL_WORDS = [
  "{",
  "}",
  "[",
  "]",
  '"',
  "=",
  ":",
  ",",
  "<<A\n",
  "<<-A\n",
  "A\n",
  "/*",
  "*/",
  "#",
  "$" + "{",
  "\\u",
  "0x",
  "-",
  ".",
];

test(
  "HCL and JSON",
  () =>
    fuzz("HCL", damagedText(HCL, HCL_WORDS), (text) => {
      try {
        parseHcl(text, "f");
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        expect((error as Error).message).toMatch(/^f:\d+:\d+: ./);
      }
    }),
  FUZZ_TIMEOUT_MS,
);

const YAML = [
  'entries:\n- spiffe_id: spiffe://example.org/a # comment\n  selectors: ["unix:uid:1", {type: a, value: b}]\n  hint: |\n    x\n',
  "a: [1, 0x1F, 2.5, ~, true]\n? b\n: &x {c: *x}\n--- !!str d\n...\n",
];

test(
  "YAML",
  () => {
    const words = [
      "- ",
      ": ",
      "? ",
      "&a ",
      "*a",
      "!!",
      "|\n",
      ">-\n",
      "---\n",
      "<<: ",
      "%",
      "\t",
      "[",
      "}",
      '"',
      "'",
    ];
    return fuzz("YAML", damagedText(YAML, words), (text) => {
      try {
        parseYaml(text, "f");
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        expect((error as Error).message).toMatch(/^f:\d+:\d+: ./);
      }
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "declared entries",
  () => {
    const keys = [
      "spiffe_id",
      "selectors",
      "admin",
      "x509_svid_ttl",
      "additional_attributes",
      "null",
      "{}",
      "[]",
      "-1",
      '"x"',
    ];
    const sample = `{"entries": [{"spiffe_id": {"trust_domain": "a", "path": "/b"}, "parent_id": "spiffe://a/b", "selectors": ["a:b", {"type": "c", "value": "d"}], "x509_svid_ttl": 5, "expires_at": "7", "admin": true, "dns_names": ["x"], "additional_attributes": {"jwt_svid_include_jti": true}}]}`;
    return fuzz("declared entries", damagedText([sample], keys), (text) => {
      try {
        for (const { entry, where } of readDeclaredFile(text, "f.json")) {
          expect(where).toMatch(/^f\.json:\d+:\d+$/);
          expect(entry?.spiffeId?.trustDomain).not.toBeEmpty();
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        expect((error as Error).message).toMatch(/^f\.json:\d+:\d+: ./);
      }
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "durations",
  () =>
    fuzz(
      "durations",
      damagedText(["1h30m", "250ms", "-1.5h", "10"], ["h", "µs", ".", "e", "9"]),
      async (text) => {
        const seconds = await attempt(() => parseDuration(text));
        if (seconds !== undefined) expect(formatDuration(seconds)).toBeString();
      },
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "templates",
  () => {
    const samples = [
      "/{{ .PluginName }}/{{ .Fingerprint | trunc 3 }}",
      "{{ range $i, $x := .DNSNames }}{{ if eq $i 1 }}{{ $x }}{{ else }}-{{ end }}{{ end }}",
    ];
    const words = [
      "{{",
      "}}",
      "|",
      "(",
      ")",
      ".",
      "$x",
      ":=",
      "end",
      "range",
      'printf "%99999d" 1',
      "`",
      "/*",
    ];
    return fuzz("templates", damagedText(samples, words), (text) => {
      try {
        Template.parse(text, ["PluginName", "Fingerprint", "DNSNames"]);
      } catch (error) {
        expect(error).toBeInstanceOf(TemplateError);
      }
    });
  },
  FUZZ_TIMEOUT_MS,
);
