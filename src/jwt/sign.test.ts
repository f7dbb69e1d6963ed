import { describe, expect, test } from "bun:test";
import { verify } from "node:crypto";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { der, derUnsigned, Tag } from "#x509/der.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import type { Signer } from "#x509/signer.ts";
import { parseJwtSvidUnverified } from "./claims.ts";
import { signJwt } from "./sign.ts";
import { verifyJwtSvid } from "./verify.ts";

const NOW = 1_700_000_000;
const CLAIMS = { sub: "spiffe://example.org/workload", aud: ["reports"], exp: NOW + 300, iat: NOW };

describe("signJwt", () => {
  test.each([
    ["ec-p256", "ES256", "sha256", 64],
    ["ec-p384", "ES384", "sha384", 96],
    ["rsa-2048", "RS256", "sha256", 256],
  ] as const)(
    "with a %s key makes an %s token that verifies",
    async (type, alg, digest, length) => {
      const signer = signerFromPrivateKey(await generatePrivateKey(type));
      const token = await signJwt({ signer, keyId: "kid-1", type: "JWT", claims: CLAIMS });
      const [header = "", payload = "", signature = ""] = token.split(".");
      // The members in the reference's order.
      expect(Buffer.from(header, "base64url").toString()).toBe(
        `{"alg":"${alg}","kid":"kid-1","typ":"JWT"}`,
      );
      expect(JSON.parse(Buffer.from(payload, "base64url").toString())).toEqual(CLAIMS);
      const bytes = Buffer.from(signature, "base64url");
      expect(bytes).toHaveLength(length);
      // Judged by node:crypto as well, not only by our own verifier.
      const key = { key: signer.publicKey, dsaEncoding: "ieee-p1363" } as const;
      expect(verify(digest, Buffer.from(`${header}.${payload}`), key, bytes)).toBe(true);
      const keys = new Map([["kid-1", signer.publicKey]]);
      const svid = await verifyJwtSvid(token, ["billing", "reports"], () => keys, NOW);
      expect(svid).toEqual({
        id: SpiffeId.parse(CLAIMS.sub),
        claims: CLAIMS,
        expiresAt: CLAIMS.exp,
      });
    },
  );

  // RFC 7518 §3.4: R and S keep their leading zeros in JWS and lose them in DER. One signature in 128 has such a number.
  test.each([
    ["short", 1, 31],
    ["full with the top bit set", 0xff, 32],
    ["full", 0x7f, 32],
  ])("keeps each number at its length: R %s", async (_what, first, length) => {
    const r = new Uint8Array(length).fill(2);
    r[0] = first;
    const s = Uint8Array.of(5);
    const template = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const signer: Signer = {
      ...template,
      sign: async () => der(Tag.SEQUENCE, derUnsigned(r), derUnsigned(s)),
    };
    const token = await signJwt({ signer, keyId: "k", type: "JWT", claims: CLAIMS });
    const raw = Buffer.from(token.split(".")[2] ?? "", "base64url");
    expect(raw).toHaveLength(64);
    expect(raw.subarray(32 - length, 32)).toEqual(Buffer.from(r));
    expect(raw.subarray(32)).toEqual(Buffer.concat([Buffer.alloc(31), Buffer.of(5)]));
  });
});

describe("parseJwtSvidUnverified", () => {
  test("reads what a cache needs", async () => {
    const signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const claims = { ...CLAIMS, aud: "reports" };
    const token = await signJwt({ signer, keyId: "k", type: "JWT", claims });
    expect(parseJwtSvidUnverified(token)).toMatchObject({
      audience: ["reports"],
      expiresAt: NOW + 300,
      issuedAt: NOW,
      notBefore: undefined,
      keyId: "k",
      claims,
    });
  });
});

describe("parseJwtSvidUnverified refuses", () => {
  const encode = (value: unknown): string =>
    Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = encode(CLAIMS);

  test.each([
    [
      "four parts",
      `${encode({ alg: "ES256", kid: "k" })}.${claims}.AA.AA`,
      "must have three parts",
    ],
    ["no key ID", `${encode({ alg: "ES256" })}.${claims}.AA`, "token header missing key id"],
    [
      "alg none",
      `${encode({ alg: "none", kid: "k" })}.${claims}.AA`,
      "unexpected signature algorithm",
    ],
    [
      "an empty subject",
      `${encode({ alg: "ES256", kid: "k" })}.${encode({ sub: "" })}.AA`,
      "token missing subject claim",
    ],
    [
      "no expiry",
      `${encode({ alg: "ES256", kid: "k" })}.${encode({ ...CLAIMS, exp: undefined })}.AA`,
      "token missing exp claim",
    ],
  ])("%s", (_what, token, message) => {
    expect(() => parseJwtSvidUnverified(token)).toThrow(message);
  });
});

describe("verifyJwtSvid", () => {
  async function refusal(audience: readonly string[], at: number, token?: string): Promise<string> {
    const signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const signed = token ?? (await signJwt({ signer, keyId: "k", type: "JWT", claims: CLAIMS }));
    const keys = new Map([["k", signer.publicKey]]);
    return await verifyJwtSvid(signed, audience, () => keys, at).then(
      () => "accepted",
      (error: unknown) => (error instanceof Error ? error.message : "?"),
    );
  }

  test("accepts nothing when nobody is the audience", async () => {
    expect(await refusal([], NOW)).toBe('expected audience in [] (audience=["reports"])');
  });

  test("says why in the reference's words", async () => {
    expect(await refusal(["z", "y"], NOW)).toBe(
      'expected audience in ["z" "y"] (audience=["reports"])',
    );
    expect(await refusal(["reports"], NOW + 361)).toBe("token has expired");
    expect(await refusal(["reports"], NOW + 360)).toBe("accepted");
  });

  test("checks the signature before anything that the token says of itself", async () => {
    const signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const expired = { ...CLAIMS, exp: 1, aud: ["nobody"] };
    const forged = await signJwt({ signer, keyId: "k", type: "JWT", claims: expired });
    expect(await refusal(["reports"], NOW, forged)).toBe("token signature does not verify");
  });

  test("refuses a token that is too long before it reads it", async () => {
    expect(await refusal(["reports"], NOW, "a".repeat(65 * 1024))).toContain("longer than");
  });
});
