import { describe, expect, test } from "bun:test";
import type { Bundle } from "#spiffe/bundle.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { basicConstraintsExtension } from "#x509/extensions.ts";
import { issueCertificate } from "#x509/issue.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { encodeName } from "#x509/name.ts";
import type { KeyType, Signer } from "#x509/signer.ts";
import { formatBundleDocument, formatJwtKeySet, parseBundleDocument } from "./bundle-document.ts";

const TRUST_DOMAIN = TrustDomain.parse("example.org");

async function makeSigner(type: KeyType): Promise<Signer> {
  return signerFromPrivateKey(await generatePrivateKey(type));
}

async function root(signer: Signer): Promise<Uint8Array> {
  const name = encodeName({ organization: ["SPIFFE"] });
  return await issueCertificate(
    {
      serialNumber: Uint8Array.of(1),
      issuerDer: name,
      subjectDer: name,
      notBefore: 1_700_000_000,
      notAfter: 1_800_000_000,
      publicKeySpki: signer.publicKeySpki,
      extensions: [basicConstraintsExtension(true)],
    },
    signer,
  );
}

async function bundleOf(x509: KeyType, jwt: KeyType): Promise<Bundle> {
  const certificate = await root(await makeSigner(x509));
  const { publicKeySpki } = await makeSigner(jwt);
  return {
    trustDomain: TRUST_DOMAIN,
    x509Authorities: [{ certificate, tainted: false }],
    jwtAuthorities: [{ keyId: "kid-1", publicKey: publicKeySpki, expiresAt: 0, tainted: false }],
    witAuthorities: [],
    refreshHint: 300,
    sequenceNumber: 7,
  };
}

describe("formatBundleDocument", () => {
  test.each([
    ["ec-p256", "ec-p384"],
    ["ec-p384", "rsa-2048"],
    ["rsa-2048", "ec-p256"],
  ] as const)("a %s authority and a %s key read the same again", async (x509, jwt) => {
    const bundle = await bundleOf(x509, jwt);
    const again = parseBundleDocument(formatBundleDocument(bundle), TRUST_DOMAIN);
    expect(again.jwtAuthorities.map((one) => Buffer.from(one.publicKey))).toEqual(
      bundle.jwtAuthorities.map((one) => Buffer.from(one.publicKey)),
    );
    expect(again).toMatchObject({ refreshHint: 300, sequenceNumber: 7 });
    expect(Buffer.from(again.x509Authorities[0]!.certificate)).toEqual(
      Buffer.from(bundle.x509Authorities[0]!.certificate),
    );
  });

  test("has the members in the reference's order, four spaces deep", async () => {
    const text = formatBundleDocument(await bundleOf("ec-p256", "rsa-2048"));
    const shape = text.replace(/": ("[^"]*"|\d+)/g, "");
    expect(shape.split("\n")).toEqual([
      "{",
      '    "keys": [',
      "        {",
      '            "use,',
      '            "kty,',
      '            "crv,',
      '            "x,',
      '            "y,',
      '            "x5c": [',
      expect.stringMatching(/^ {16}"[A-Za-z0-9+/=]+"$/),
      "            ]",
      "        },",
      "        {",
      '            "use,',
      '            "kty,',
      '            "kid,',
      '            "n,',
      '            "e',
      "        }",
      "    ],",
      '    "spiffe_sequence,',
      '    "spiffe_refresh_hint',
      "}",
    ]);
  });

  test("an empty bundle", () => {
    expect(formatBundleDocument(emptyBundle(TRUST_DOMAIN))).toBe('{\n    "keys": []\n}');
  });
});

describe("formatJwtKeySet", () => {
  test("is a plain JWK set of the keys for JWT-SVIDs", async () => {
    const bundle = await bundleOf("ec-p256", "ec-p256");
    const document = JSON.parse(formatJwtKeySet(bundle));
    expect(Object.keys(document)).toEqual(["keys"]);
    expect(document.keys.map((key: object) => Object.keys(key))).toEqual([
      ["kty", "kid", "crv", "x", "y"],
    ]);
    expect(document.keys[0]).toMatchObject({ kty: "EC", kid: "kid-1", crv: "P-256" });
  });
});

describe("parseBundleDocument", () => {
  test("says which entry is malformed", () => {
    const document = JSON.stringify({
      keys: [{ use: "other" }, { use: "jwt-svid", kid: "a", kty: "EC", crv: "P-256", x: "AA" }],
    });
    expect(() => parseBundleDocument(document, TRUST_DOMAIN)).toThrow(
      "jwt-svid entry 1: member y is missing or malformed",
    );
  });

  const rsa = { kty: "RSA", n: "AQ", e: "AQAB" };

  test.each<[string, string, string]>([
    ["no JSON", "{", "bundle document is not JSON: "],
    ["a list", "[]", "bundle document is not a JSON object"],
    ["null", "null", "bundle document is not a JSON object"],
    ["without keys", "{}", "bundle document has no array of keys"],
    ["with one key in place of a list", '{"keys":{}}', "bundle document has no array of keys"],
    ["too long", " ".repeat(4 * 1024 * 1024 + 1), "bundle document is too large"],
    [
      "with a certificate that is no text",
      JSON.stringify({ keys: [{ use: "x509-svid", ...rsa, x5c: [5] }] }),
      "x509-svid entry 0: x5c holds no certificate in base64",
    ],
    [
      "with a certificate that is not base64",
      JSON.stringify({ keys: [{ use: "x509-svid", ...rsa, x5c: ["AA-_"] }] }),
      "x509-svid entry 0: x5c holds no certificate in base64",
    ],
  ])("a document that is %s is refused", (_, text, problem) => {
    expect(() => parseBundleDocument(text, TRUST_DOMAIN)).toThrow(problem);
  });

  test("what it says is not tainted", async () => {
    const text = formatBundleDocument(await bundleOf("ec-p256", "ec-p256"));
    const { x509Authorities, jwtAuthorities } = parseBundleDocument(text, TRUST_DOMAIN);
    expect([...x509Authorities, ...jwtAuthorities].map((one) => one.tainted)).toEqual([
      false,
      false,
    ]);
  });
});
