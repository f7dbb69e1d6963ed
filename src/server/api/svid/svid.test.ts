import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { BatchCreateEntryResponse } from "#proto/spire/api/server/entry/v1/entry.ts";
import type {
  BatchNewX509SVIDResponse,
  MintX509SVIDResponse,
  NewDownstreamX509CAResponse,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import {
  asWorkload,
  type JoinedAgent,
  joinAgent,
  newKey,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";
import { Certificate } from "#x509/certificate.ts";

let server: TestServer;
let agent: JoinedAgent;
let entryId: string;
beforeAll(async () => {
  server = await startTestServer();
  agent = await joinAgent(server);
  entryId = await createEntry({ spiffeId: { trustDomain: "example.org", path: "/web" } });
});
afterAll(() => server.stop());

async function createEntry(part: Parameters<typeof Entry.fromPartial>[0]): Promise<string> {
  const entry = Entry.fromPartial({
    parentId: agent.id,
    selectors: [{ type: "unix", value: "uid:1" }],
    ...part,
  });
  const { results } = await unary<BatchCreateEntryResponse>((done) =>
    server.local.entry.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
  );
  return results[0]?.entry?.id ?? "";
}

const mint = (csr: Uint8Array, ttl = 0): Promise<MintX509SVIDResponse> =>
  unary((done) => server.local.svid.mintX509Svid({ csr, ttl }, done));

describe("minting an X509-SVID", () => {
  test("gives what the request asks for", async () => {
    const { csr } = await newKey("spiffe://example.org/minted", ["a.example.org"]);
    const { svid } = await mint(csr, 120);
    expect(svid).toMatchObject({ id: { trustDomain: "example.org", path: "/minted" } });
    const leaf = Certificate.parse(svid?.certChain[0] ?? new Uint8Array());
    expect(leaf.uriSans).toEqual(["spiffe://example.org/minted"]);
    expect(leaf.notAfter).toBe(svid?.expiresAt ?? 0);
  });

  test.each([
    [undefined, [], "CSR URI SAN is required"],
    ["https://example.org", [], "CSR URI SAN is invalid: scheme is missing or invalid"],
    [
      "spiffe://other.org/x",
      [],
      'CSR URI SAN is invalid: "spiffe://other.org/x" is not a member of trust domain "example.org"',
    ],
    [
      "spiffe://example.org/spire/server",
      [],
      'CSR URI SAN is invalid: "spiffe://example.org/spire/server" is not a workload in trust domain "example.org"; path is in the reserved namespace',
    ],
    ["spiffe://example.org/x", ["a!b"], 'CSR DNS name is invalid: idna error: invalid label "a!b"'],
  ])("for %p with DNS names %p is refused: %s", async (uri, dnsNames, details) => {
    const { csr } = await newKey(uri, dnsNames);
    expect(await refused(mint(csr))).toMatchObject({ code: 3, details });
  });

  test("refuses what is no CSR", async () => {
    expect(await refused(mint(new Uint8Array()))).toMatchObject({ details: "missing CSR" });
    expect(await refused(mint(Buffer.from("x")))).toMatchObject({
      code: 3,
      details: expect.stringMatching(/^malformed CSR/),
    });
  });
});

describe("a batch of X509-SVIDs", () => {
  const batch = (
    params: { entryId: string; csr: Uint8Array }[],
  ): Promise<BatchNewX509SVIDResponse> =>
    unary((done) => agent.clients.svid.batchNewX509Svid({ params }, done));

  test("has a result for each, in order, good or bad", async () => {
    const { csr } = await newKey();
    const elsewhere = await createEntry({
      parentId: { trustDomain: "example.org", path: "/other-node" },
      spiffeId: { trustDomain: "example.org", path: "/elsewhere" },
    });
    const { results } = await batch([
      { entryId, csr },
      { entryId: elsewhere, csr },
      { entryId: "", csr },
      { entryId, csr: new Uint8Array() },
      { entryId, csr: Buffer.from("x") },
    ]);
    expect(results).toMatchObject([
      { status: { code: 0, message: "OK" }, svid: { id: { path: "/web" } } },
      { status: { code: 5, message: "entry not found or not authorized" }, svid: undefined },
      { status: { code: 3, message: "missing entry ID" } },
      { status: { code: 3, message: "missing CSR" } },
      { status: { code: 3, message: expect.stringMatching(/^malformed CSR/) } },
    ]);
  });

  test("must not be empty", async () => {
    expect(await refused(batch([]))).toMatchObject({ code: 3, details: "missing parameters" });
  });
});

describe("a JWT-SVID", () => {
  const newJwt = (id: string, audience: string[]): Promise<unknown> =>
    unary((done) => agent.clients.svid.newJwtsvid({ entryId: id, audience }, done));

  test("is signed for an entry of the agent", async () => {
    expect(await newJwt(entryId, ["a"])).toMatchObject({
      svid: { id: { path: "/web" }, token: expect.stringMatching(/^[^.]+\.[^.]+\.[^.]+$/) },
    });
  });

  test("needs an audience and an entry", async () => {
    expect(await refused(newJwt(entryId, []))).toMatchObject({
      code: 3,
      details: "at least one audience is required",
    });
    // An empty word names nobody.
    expect(await refused(newJwt(entryId, ["", ""]))).toMatchObject({ code: 3 });
    const { svid } = (await newJwt(entryId, ["", "a"])) as { svid: { token: string } };
    const claims = Buffer.from(svid.token.split(".")[1] ?? "", "base64url").toString();
    expect(JSON.parse(claims)).toMatchObject({ aud: ["a"] });
    expect(await refused(newJwt("nope", ["a"]))).toMatchObject({
      code: 5,
      details: "entry not found or not authorized",
    });
  });

  test("can be switched off", async () => {
    const without = await startTestServer({ disableJwtSvids: true });
    const id = { trustDomain: "example.org", path: "/x" };
    expect(
      await refused(
        unary((done) => without.local.svid.mintJwtsvid({ id, audience: ["a"], ttl: 0 }, done)),
      ),
    ).toMatchObject({ code: 12, details: "JWT functionality is disabled" });
    await without.stop();
  });
});

describe("a CA for a server below", () => {
  const ask = async (path: string, preferredTtl = 0): Promise<NewDownstreamX509CAResponse> => {
    const clients = await asWorkload(server, path);
    const { csr } = await newKey("spiffe://example.org");
    return unary((done) => clients.svid.newDownstreamX509Ca({ csr, preferredTtl }, done));
  };
  beforeAll(() =>
    createEntry({ spiffeId: { trustDomain: "example.org", path: "/down" }, downstream: true }),
  );

  test("goes to downstream entries only", async () => {
    expect(await refused(ask("/web"))).toMatchObject({ code: 7 });
    expect(await ask("/down")).toMatchObject({ x509Authorities: [expect.anything()] });
  });

  test.each([
    [0, 86_400],
    [-5, 86_400],
    [600, 600],
    [10_000_000, 86_400],
  ])("asked for %i s, it lives for %i s", async (asked, given) => {
    const { caCertChain, x509Authorities } = await ask("/down", asked);
    expect(caCertChain).toHaveLength(1);
    const ca = Certificate.parse(caCertChain[0] ?? new Uint8Array());
    const root = Certificate.parse(x509Authorities[0] ?? new Uint8Array());
    expect(ca).toMatchObject({ isCa: true, uriSans: ["spiffe://example.org"] });
    expect(ca.subjectText).toContain("OU=DOWNSTREAM-1");
    expect(Buffer.compare(ca.issuerDer, root.subjectDer)).toBe(0);
    expect(ca.notAfter).toBeLessThanOrEqual(root.notAfter);
    expect(ca.notAfter - ca.notBefore - 10).toBeLessThanOrEqual(given);
    expect(ca.notAfter - ca.notBefore - 10).toBeGreaterThan(given - 60);
  });
});
