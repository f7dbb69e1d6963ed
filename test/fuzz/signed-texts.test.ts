/** JWT-SVIDs, bundle documents and PEM from outside. Damaged ones are refused, and soon. */
import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { formatBundleDocument, readBundleDocument } from "#jwt/bundle-document.ts";
import { parseJwtSvidUnverified } from "#jwt/claims.ts";
import { signJwt } from "#jwt/sign.ts";
import { verifyJwtSvid } from "#jwt/verify.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { privateKeyFromPem, privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import { certificatesFromPem, certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { attempt, damagedText, FUZZ_TIMEOUT_MS, fuzz } from "../support/fuzzing.ts";

const trustDomain = TrustDomain.parse("example.org");
const NOW = 1_800_000_000;

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
