import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import type {
  BatchCreateFederatedBundleResponse,
  BatchDeleteFederatedBundleResponse,
  BatchUpdateFederatedBundleResponse,
} from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { Bundle, BundleMask } from "#proto/spire/api/types/bundle.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import {
  asWorkload,
  type Clients,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";

let server: TestServer;
let root: Uint8Array;
beforeAll(async () => {
  server = await startTestServer();
  root = (await ownBundle()).x509Authorities[0]?.asn1 ?? new Uint8Array();
});
afterAll(() => server.stop());

const ownBundle = (outputMask?: BundleMask): Promise<Bundle> =>
  unary((done) => server.local.bundle.getBundle({ outputMask }, done));
const foreign = (trustDomain: string, refreshHint = 0): Bundle =>
  Bundle.fromPartial({ trustDomain, x509Authorities: [{ asn1: root }], refreshHint });
const create = (...bundle: Bundle[]): Promise<BatchCreateFederatedBundleResponse> =>
  unary((done) =>
    server.local.bundle.batchCreateFederatedBundle({ bundle, outputMask: undefined }, done),
  );
const get = (trustDomain: string): Promise<Bundle> =>
  unary((done) =>
    server.local.bundle.getFederatedBundle({ trustDomain, outputMask: undefined }, done),
  );
const remove = (mode: 0 | 1 | 2, ...trustDomains: string[]): Promise<unknown> =>
  unary<BatchDeleteFederatedBundleResponse>((done) =>
    server.local.bundle.batchDeleteFederatedBundle({ trustDomains, mode }, done),
  );

test("the server's own bundle shows what the mask names", async () => {
  const bundle = await ownBundle(BundleMask.fromPartial({ refreshHint: true }));
  expect(bundle).toEqual(Bundle.fromPartial({ trustDomain: "example.org" }));
});

test("authorities are appended once", async () => {
  const before = await ownBundle();
  const append = (): Promise<Bundle> =>
    unary((done) =>
      server.local.bundle.appendBundle(
        {
          x509Authorities: before.x509Authorities,
          jwtAuthorities: [],
          witAuthorities: [],
          outputMask: undefined,
        },
        done,
      ),
    );
  expect((await append()).x509Authorities).toHaveLength(before.x509Authorities.length);
});

const append = (part: object): Promise<unknown> =>
  unary((done) =>
    server.local.bundle.appendBundle(
      {
        x509Authorities: [],
        jwtAuthorities: [],
        witAuthorities: [],
        outputMask: undefined,
        ...part,
      },
      done,
    ),
  );

test("what is no authority is refused", async () => {
  expect(await refused(append({}))).toMatchObject({
    code: 3,
    details: "no authorities to append",
  });
  const asn1 = Buffer.from("x");
  expect(await refused(append({ x509Authorities: [{ asn1, tainted: false }] }))).toMatchObject({
    code: 3,
    details: expect.stringMatching(/^failed to convert X\.509 authority/),
  });
});

test("an appended key has an ID of its own", async () => {
  const [key] = (await ownBundle()).jwtAuthorities;
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const other = { ...key!, publicKey: publicKey.export({ type: "spki", format: "der" }) };
  const before = await ownBundle();
  expect(await refused(append({ jwtAuthorities: [other] }))).toMatchObject({ code: 6 });
  const twice = [other, { ...key!, publicKey: key!.publicKey }].map((one) => ({
    ...one,
    keyId: "two",
  }));
  expect(await refused(append({ jwtAuthorities: twice }))).toMatchObject({ code: 3 });
  expect(await ownBundle()).toEqual(before);
});

describe("a JWT key of a server below", () => {
  const publish = (clients: Clients, keyId: string): Promise<unknown> => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "der" });
    const jwtAuthority = { publicKey: spki, keyId, expiresAt: 4_000_000_000, tainted: false };
    return unary((done) => clients.bundle.publishJwtAuthority({ jwtAuthority }, done));
  };

  test("is taken from a downstream server only, and answered by the keys of all", async () => {
    const entry = Entry.fromPartial({
      spiffeId: { trustDomain: "example.org", path: "/below" },
      parentId: { trustDomain: "example.org", path: "/node" },
      selectors: [{ type: "unix", value: "uid:1" }],
      downstream: true,
    });
    await unary((done) =>
      server.local.entry.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
    );
    const known = (await ownBundle()).jwtAuthorities.map(({ keyId }) => ({ keyId }));
    const below = await asWorkload(server, "/below");
    expect(await publish(below, "of-below")).toMatchObject({
      jwtAuthorities: [...known, { keyId: "of-below", expiresAt: 4_000_000_000 }],
    });
    const published = await ownBundle();
    expect(published.jwtAuthorities.at(-1)).toMatchObject({ keyId: "of-below" });
    // Neither an ID of its own nor one of the server's is taken for another key; the same key again is no news.
    for (const { keyId } of published.jwtAuthorities) {
      expect(await refused(publish(below, keyId))).toMatchObject({
        code: 6,
        details: `failed to publish JWT key: key ID "${keyId}" belongs to another key`,
      });
    }
    const [again] = published.jwtAuthorities.slice(-1);
    await unary((done) => below.bundle.publishJwtAuthority({ jwtAuthority: again }, done));
    expect(await ownBundle()).toEqual(published);
    expect(await refused(publish(below, ""))).toMatchObject({
      code: 3,
      details: "invalid JWT authority: missing key ID",
    });
    const missing = unary((done) =>
      below.bundle.publishJwtAuthority({ jwtAuthority: undefined }, done),
    );
    expect(await refused(missing)).toMatchObject({ code: 3, details: "missing JWT authority" });
    expect(await refused(publish(await asWorkload(server, "/web"), "x"))).toMatchObject({
      code: 7,
    });
    expect(await refused(publish(server.local, "x"))).toMatchObject({ code: 7 });
  });
});

describe("federated bundles", () => {
  test("are created once, never for the server's own trust domain", async () => {
    const { results } = await create(foreign("a.org"), foreign("a.org"), foreign("example.org"));
    expect(results).toMatchObject([
      { status: { code: 0, message: "OK" }, bundle: { trustDomain: "a.org" } },
      { status: { code: 6, message: "bundle already exists" } },
      {
        status: {
          code: 3,
          message: "creating a federated bundle for the server's own trust domain is not allowed",
        },
      },
    ]);
    expect(await get("a.org")).toMatchObject({ x509Authorities: [{ asn1: expect.anything() }] });
  });

  test("are listed without the server's own, but counted with it", async () => {
    const empty = await startTestServer();
    const list = { outputMask: undefined, pageSize: 0, pageToken: "" };
    expect(
      await unary((done) => empty.local.bundle.listFederatedBundles(list, done)),
    ).toMatchObject({ bundles: [] });
    expect(await unary((done) => empty.local.bundle.countBundles({}, done))).toMatchObject({
      count: 1,
    });
    await empty.stop();
  });

  test("are updated as far as the mask goes", async () => {
    await create(foreign("b.org", 10));
    const { results } = await unary<BatchUpdateFederatedBundleResponse>((done) =>
      server.local.bundle.batchUpdateFederatedBundle(
        {
          bundle: [
            Bundle.fromPartial({ trustDomain: "b.org", refreshHint: 20 }),
            foreign("no.org"),
          ],
          inputMask: BundleMask.fromPartial({ refreshHint: true }),
          outputMask: undefined,
        },
        done,
      ),
    );
    expect(results).toMatchObject([
      { bundle: { refreshHint: 20, x509Authorities: [{ tainted: false }] } },
      { status: { code: 5, message: "bundle not found" } },
    ]);
  });

  test("that an entry needs stay in restrict mode, and leave the entry in dissociate mode", async () => {
    await create(foreign("c.org"));
    const entry = Entry.fromPartial({
      spiffeId: { trustDomain: "example.org", path: "/x" },
      parentId: { trustDomain: "example.org", path: "/node" },
      selectors: [{ type: "unix", value: "uid:1" }],
      federatesWith: ["c.org"],
    });
    await unary((done) =>
      server.local.entry.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
    );
    expect(await remove(0, "c.org", "no.org", "example.org")).toMatchObject({
      results: [
        { trustDomain: "c.org", status: { code: 9 } },
        { trustDomain: "no.org", status: { code: 5, message: "bundle not found" } },
        { trustDomain: "example.org", status: { code: 3 } },
      ],
    });
    expect(await remove(2, "c.org")).toMatchObject({ results: [{ status: { code: 0 } }] });
    expect(await refused(get("c.org"))).toMatchObject({ code: 5, details: "bundle not found" });
  });
});
