import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { type JWTPayload, jwtVerify } from "jose";
import type { BatchCreateEntryResponse } from "#proto/spire/api/server/entry/v1/entry.ts";
import type {
  BatchNewWITSVIDResponse,
  MintWITSVIDResponse,
  NewWITSVIDParams,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import { type Bundle, BundleMask } from "#proto/spire/api/types/bundle.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import {
  type JoinedAgent,
  joinAgent,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";
import { isoTime } from "#x509/iso-time.ts";

const EXPERIMENTAL = { agentSpiffeIdAsSelector: false, requirePqKem: false };
const ISSUER = "https://issuer.example.org";

let server: TestServer;
let agent: JoinedAgent;
beforeAll(async () => {
  server = await startTestServer({
    auditLogEnabled: true,
    rateLimit: { attestation: false, signing: true },
    experimental: { ...EXPERIMENTAL, witSvids: { keyType: "ec-p384", issuer: ISSUER } },
  });
  agent = await joinAgent(server);
});
afterAll(() => server.stop());

const P256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
const P384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey;
const P521 = generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey;
const RSA = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
const WEAK_RSA = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
const ED25519 = generateKeyPairSync("ed25519").publicKey;
const NOTHING = new Uint8Array();
const NO_KEY = "invalid public key: it is no SubjectPublicKeyInfo in DER";

const spki = (key: KeyObject): Uint8Array => key.export({ type: "spki", format: "der" });

interface Asked {
  readonly publicKey?: Uint8Array;
  readonly signingAlgorithm?: string;
  readonly id?: { trustDomain: string; path: string };
  readonly ttl?: number;
}

const mint = (asked: Asked = {}, { local } = server): Promise<MintWITSVIDResponse> => {
  const id = { trustDomain: "example.org", path: "/minted" };
  const request = { publicKey: spki(P256), signingAlgorithm: "ES256", id, ttl: 0, ...asked };
  return unary((done) => local.svid.mintWitsvid(request, done));
};

const ownBundle = (outputMask?: BundleMask): Promise<Bundle> =>
  unary((done) => server.local.bundle.getBundle({ outputMask }, done));

/** What a token says, once the bundle's key has verified it. */
async function verified(token: string): Promise<{ header: unknown; payload: JWTPayload }> {
  const [authority, ...others] = (await ownBundle()).witAuthorities;
  if (authority === undefined || others.length > 0) throw new Error("not one key in the bundle");
  const { publicKey, keyId } = authority;
  const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
  const { payload, protectedHeader: header } = await jwtVerify(token, key);
  expect(header.kid).toBe(keyId);
  return { header, payload };
}

describe("minting a WIT-SVID", () => {
  test.each([
    ["ES256", P256],
    ["ES384", P384],
    ["ES512", P521],
    ["RS256", RSA],
    ["RS384", RSA],
    ["RS512", RSA],
    ["PS256", RSA],
    ["PS384", RSA],
    ["PS512", RSA],
  ])("binds the identity to a key that signs with %s", async (signingAlgorithm, key) => {
    const { svid } = await mint({ publicKey: spki(key), signingAlgorithm, ttl: 60 });
    const { header, payload } = await verified(svid?.token ?? "");
    expect(header).toMatchObject({ alg: "ES384", typ: "wit+jwt" });
    const iat = Number(payload.iat);
    expect(payload).toEqual({
      cnf: { jwk: { ...key.export({ format: "jwk" }), alg: signingAlgorithm } },
      exp: iat + 60,
      iat,
      iss: ISSUER,
      sub: "spiffe://example.org/minted",
    });
    const id = { trustDomain: "example.org", path: "/minted" };
    expect(svid).toMatchObject({ id, expiresAt: iat + 60, issuedAt: iat, hint: "" });
  });

  test("for no given time, it lives for an hour", async () => {
    const { svid } = await mint();
    expect((svid?.expiresAt ?? 0) - (svid?.issuedAt ?? 0)).toBe(3600);
  });

  const id = (path: string, trustDomain = "example.org"): Asked => ({ id: { trustDomain, path } });
  test.each([
    [
      "another trust domain",
      id("/x", "other.org"),
      'invalid SPIFFE ID: "spiffe://other.org/x" is not a member of trust domain "example.org"',
    ],
    [
      "the server's own name",
      id("/spire/server"),
      'invalid SPIFFE ID: "spiffe://example.org/spire/server" is not a workload in trust domain "example.org"; path is in the reserved namespace',
    ],
    ["no key", { publicKey: NOTHING }, NO_KEY],
    [
      "a key with something behind it",
      { publicKey: Buffer.concat([spki(P256), Buffer.of(0)]) },
      NO_KEY,
    ],
    ["what is no key", { publicKey: Buffer.of(0x30, 0) }, NO_KEY],
    [
      "an algorithm that the key does not sign with",
      { signingAlgorithm: "ES384" },
      "invalid signing algorithm or key type: unsupported signing algorithm for ec-p256 key: ES384",
    ],
    [
      "no algorithm",
      { signingAlgorithm: "" },
      "invalid signing algorithm or key type: unsupported signing algorithm for ec-p256 key: ",
    ],
    [
      "an algorithm with a shared secret",
      { publicKey: spki(RSA), signingAlgorithm: "HS256" },
      "invalid signing algorithm or key type: unsupported signing algorithm for RSA key: HS256",
    ],
    [
      "a kind of key that has no algorithm",
      { publicKey: spki(ED25519), signingAlgorithm: "EdDSA" },
      "invalid signing algorithm or key type: unsupported key type 'ed25519'",
    ],
    [
      "a key that is too short",
      { publicKey: spki(WEAK_RSA), signingAlgorithm: "RS256" },
      "invalid signing algorithm or key type: RSA key of 1024 bits; ",
    ],
  ])("for %s is refused", async (_what, asked, details) => {
    expect(await refused(mint(asked))).toMatchObject({
      code: 3,
      details: expect.stringContaining(details),
    });
  });

  test("is written to the audit log without the token", async () => {
    const { svid } = await mint({ ttl: 77 });
    expect(server.logged).toContainEqual(
      expect.objectContaining({
        msg: "API accessed",
        method: "MintWITSVID",
        status: "success",
        ttl: 77,
        spiffe_id: "spiffe://example.org/minted",
      }),
    );
    expect(JSON.stringify(server.logged)).not.toContain(svid?.token ?? "");
  });
});

describe("a batch of WIT-SVIDs", () => {
  const batch = (...params: NewWITSVIDParams[]): Promise<BatchNewWITSVIDResponse> =>
    unary((done) => agent.clients.svid.batchNewWitsvid({ params }, done));
  const createEntry = async (part: Parameters<typeof Entry.fromPartial>[0]): Promise<string> => {
    const selectors = [{ type: "unix", value: "uid:1" }];
    const entry = Entry.fromPartial({ parentId: agent.id, selectors, ...part });
    const { results } = await unary<BatchCreateEntryResponse>((done) =>
      server.local.entry.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
    );
    return results[0]?.entry?.id ?? "";
  };
  const web = { trustDomain: "example.org", path: "/web" };

  test("has a result for each, in order, good or bad", async () => {
    const entryId = await createEntry({ spiffeId: web, x509SvidTtl: 120 });
    const parentId = { trustDomain: "example.org", path: "/other-node" };
    const elsewhere = await createEntry({ parentId, spiffeId: web });
    const good = { entryId, publicKey: spki(P256), signingAlgorithm: "ES256" };
    const { results } = await batch(
      good,
      { ...good, entryId: elsewhere },
      { ...good, entryId: "" },
      { ...good, publicKey: NOTHING },
      { ...good, publicKey: Buffer.from("x") },
      { ...good, signingAlgorithm: "RS256" },
    );
    expect(results).toMatchObject([
      { status: { code: 0, message: "OK" }, svid: { id: web } },
      { status: { code: 5, message: "entry not found or not authorized" }, svid: undefined },
      { status: { code: 3, message: "missing entry ID" } },
      { status: { code: 3, message: "missing public key" } },
      { status: { code: 3, message: expect.stringMatching(/^malformed public key: /) } },
      {
        status: {
          code: 3,
          message:
            "invalid signing algorithm or key type: unsupported signing algorithm for ec-p256 key: RS256",
        },
      },
    ]);
    const { payload } = await verified(results[0]?.svid?.token ?? "");
    expect(payload).toMatchObject({ sub: "spiffe://example.org/web", iss: ISSUER });
    expect(Number(payload.exp) - Number(payload.iat)).toBe(120);
    const line = { method: "BatchNewWITSVID", entry_id: entryId, status: "success" };
    const expires_at = isoTime(results[0]?.svid?.expiresAt ?? 0);
    expect(server.logged).toContainEqual(
      expect.objectContaining({ ...line, spiffe_id: "spiffe://example.org/web", expires_at }),
    );
  });

  test("must not be empty, nor greater than what is signed in a second", async () => {
    expect(await refused(batch())).toMatchObject({ code: 3, details: "missing parameters" });
    const params = { entryId: "", publicKey: NOTHING, signingAlgorithm: "" };
    expect(await refused(batch(...Array<NewWITSVIDParams>(501).fill(params)))).toMatchObject({
      code: 8,
      details:
        "rejecting request due to certificate signing rate limiting: rate (501) exceeds burst size (500)",
    });
  });
});

test("the bundle has the key for WIT-SVIDs, if it is asked for", async () => {
  const { witAuthorities, jwtAuthorities } = await ownBundle();
  expect(witAuthorities).toMatchObject([{ tainted: false }]);
  expect(witAuthorities[0]?.keyId).not.toBe(jwtAuthorities[0]?.keyId);
  const masked = await ownBundle(BundleMask.fromPartial({ witAuthorities: true }));
  expect(masked).toMatchObject({ witAuthorities, jwtAuthorities: [], x509Authorities: [] });
  const others = await ownBundle(BundleMask.fromPartial({ jwtAuthorities: true }));
  expect(others).toMatchObject({ witAuthorities: [], jwtAuthorities });
});

test("keys for WIT-SVIDs are not taken from anybody", async () => {
  const { witAuthorities } = await ownBundle();
  const keys = witAuthorities.map((key) => ({ ...key, keyId: "another" }));
  const addition = { x509Authorities: [], jwtAuthorities: [], witAuthorities: keys };
  const appended = unary<Bundle>((done) =>
    server.local.bundle.appendBundle({ ...addition, outputMask: undefined }, done),
  );
  expect(await refused(appended)).toMatchObject({ code: 3, details: "no authorities to append" });
});

test("without the feature flag there are no WIT-SVIDs", async () => {
  const without = await startTestServer();
  const disabled = { code: 12, details: "WIT functionality is disabled" };
  expect(await refused(mint({}, without))).toMatchObject(disabled);
  const joined = await joinAgent(without);
  const batch = unary((done) => joined.clients.svid.batchNewWitsvid({ params: [] }, done));
  expect(await refused(batch)).toMatchObject(disabled);
  await without.stop();
});
