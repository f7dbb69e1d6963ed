/** Texts from outside: configuration, SPIFFE IDs, selectors, JWT-SVIDs, bundle documents, PEM. Damaged ones are refused, and soon. */
import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { ConfigError } from "#config/config-error.ts";
import { formatDuration, parseDuration } from "#config/duration.ts";
import { parseHcl } from "#config/hcl.ts";
import { Template } from "#config/template/template.ts";
import { TemplateError } from "#config/template/values.ts";
import { formatBundleDocument, readBundleDocument } from "#jwt/bundle-document.ts";
import { parseJwtSvidUnverified } from "#jwt/claims.ts";
import { signJwt } from "#jwt/sign.ts";
import { verifyJwtSvid } from "#jwt/verify.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { parseBundleEndpointUrl } from "#spiffe/federation-relationship.ts";
import { parseSelector, selectorKey, selectorProblem } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { SpiffeIdError } from "#spiffe/spiffe-id-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { privateKeyFromPem, privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import { certificatesFromPem, certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { attempt, damagedText, FUZZ_TIMEOUT_MS, fuzz } from "../support/fuzzing.ts";

const trustDomain = TrustDomain.parse("example.org");
const NOW = 1_800_000_000;

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

const IDS = [
  "spiffe://example.org/a/b.c_d-e",
  "spiffe://example.org",
  "SPIFFE://Example.org/a",
  `spiffe://${"a".repeat(255)}/x`,
];
const ID_WORDS = ["/", "//", ":", "%2f", "..", ".", "@", "?", "#", "\u0000", "É", "spiffe://"];
/** SPIFFE-ID §2: what may be in one at all. */
const ID_FORM = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[a-zA-Z0-9._-]+)*$/;

test(
  "SPIFFE IDs",
  () =>
    fuzz("SPIFFE IDs", damagedText(IDS, ID_WORDS), (text) => {
      try {
        const id = SpiffeId.parse(text);
        expect(id.toString()).toMatch(ID_FORM);
        expect(SpiffeId.parse(id.toString()).equals(id)).toBe(true);
        expect(text).toBe(id.toString());
      } catch (error) {
        expect(error).toBeInstanceOf(SpiffeIdError);
      }
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "trust domains",
  () =>
    fuzz("trust domains", damagedText(["example.org", ...IDS], ID_WORDS), (text) => {
      try {
        const parsed = TrustDomain.parse(text);
        expect(parsed.id).toMatch(ID_FORM);
        expect(TrustDomain.parse(parsed.name).equals(parsed)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(SpiffeIdError);
      }
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "selectors",
  () =>
    fuzz(
      "selectors",
      damagedText(["unix:uid:1000", "k8s:pod-label:a:b", ":"], [":", "", "\n"]),
      async (text) => {
        const selector = await attempt(() => parseSelector(text));
        if (selector === undefined) return;
        expect(selectorKey(selector)).toBe(text);
        if (selectorProblem(selector) === undefined)
          expect(parseSelector(selectorKey(selector))).toEqual(selector);
      },
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "URLs of bundle endpoints",
  () =>
    fuzz(
      "bundle endpoint URLs",
      damagedText(
        ["https://example.org:8443/bundle.json?x=1", "https://[::1]/"],
        ["@", ":", "\\", "//", "#", "%00", "[", "ſ", "https:"],
      ),
      async (text) => {
        const url = await attempt(() => parseBundleEndpointUrl(text));
        if (url !== undefined) expect(new URL(url).protocol).toBe("https:");
      },
    ),
  FUZZ_TIMEOUT_MS,
);

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const token = await signJwt({
  signer: signerFromPrivateKey(privateKey),
  keyId: "key",
  type: "JWT",
  claims: { sub: "spiffe://example.org/a", aud: ["b"], exp: NOW + 300, iat: NOW },
});
const keys = new Map([["key", publicKey]]);
const encoded = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString("base64url");
const TOKEN_WORDS = [
  ".",
  "=",
  "A",
  "-",
  "_",
  "+",
  "/",
  " ",
  "\n",
  encoded({ alg: "none", kid: "key" }),
  encoded({ alg: "HS256", kid: "key" }),
  encoded({ alg: "ES256", kid: "key", crit: ["exp"] }),
  encoded({ sub: "spiffe://example.org/b", aud: "b", exp: NOW + 300 }),
];

test(
  "JWT-SVIDs: no text but the token itself is taken for it",
  () =>
    fuzz("JWT-SVIDs", damagedText([token], TOKEN_WORDS), async (text) => {
      await attempt(() => parseJwtSvidUnverified(text));
      const verified = await attempt(() => verifyJwtSvid(text, "b", () => keys, NOW));
      if (verified !== undefined) expect(text).toBe(token);
    }),
  FUZZ_TIMEOUT_MS,
);

const root = await make({ name: "root", isCa: true, uri: "spiffe://example.org" });
const document = formatBundleDocument({
  ...emptyBundle(trustDomain),
  x509Authorities: [{ certificate: root.certificate.der, tainted: false }],
  jwtAuthorities: [
    {
      keyId: "key",
      publicKey: publicKey.export({ type: "spki", format: "der" }),
      expiresAt: NOW,
      tainted: false,
    },
  ],
  refreshHint: 60,
  sequenceNumber: 3,
});
const DOCUMENT_WORDS = [
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  "null",
  "1e999",
  "-1",
  '"use":"x509-svid"',
  '"x5c":[]',
  '"kty":"RSA"',
  "\\u0000",
];

test(
  "bundle documents",
  () =>
    fuzz("bundle documents", damagedText([document], DOCUMENT_WORDS), async (text) => {
      const bundle = await attempt(() => readBundleDocument(text, trustDomain));
      if (bundle === undefined) return;
      expect(bundle.trustDomain.equals(trustDomain)).toBe(true);
      const again = await readBundleDocument(formatBundleDocument(bundle), trustDomain);
      expect(again).toEqual(bundle);
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "PEM",
  () => {
    const samples = [
      certificatesToPem([root.certificate.der, root.certificate.der]),
      privateKeyToPkcs8Pem(privateKey),
    ];
    const words = [
      "-----BEGIN CERTIFICATE-----\n",
      "-----END CERTIFICATE-----",
      "-----",
      "\n",
      "=",
      "Proc-Type: 4,ENCRYPTED\n",
    ];
    return fuzz("PEM", damagedText(samples, words), async (text) => {
      await attempt(() => certificatesFromPem(text));
      await attempt(() => privateKeyFromPem(text));
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "whatever characters, in whatever reader",
  () =>
    fuzz("any characters", fc.string({ unit: "binary", maxLength: 60 }), async (text) => {
      const readers = [
        () => parseHcl(text, "f"),
        () => SpiffeId.parse(text),
        () => TrustDomain.parse(text),
        () => parseSelector(text),
        () => parseDuration(text),
        () => parseJwtSvidUnverified(text),
        () => readBundleDocument(text, trustDomain),
        () => certificatesFromPem(text),
      ];
      for (const read of readers) await attempt<unknown>(read);
    }),
  FUZZ_TIMEOUT_MS,
);
