import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type {
  BatchCreateFederationRelationshipResponse,
  BatchDeleteFederationRelationshipResponse,
  BatchUpdateFederationRelationshipResponse,
  ListFederationRelationshipsResponse,
} from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import {
  FederationRelationship,
  FederationRelationshipMask,
} from "#proto/spire/api/types/federationrelationship.ts";
import {
  asWorkload,
  type Clients,
  joinAgent,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";

let server: TestServer;
let root: Uint8Array;
beforeEach(async () => {
  server = await startTestServer({ auditLogEnabled: true });
  const own = await unary<Bundle>((done) =>
    server.local.bundle.getBundle({ outputMask: undefined }, done),
  );
  root = own.x509Authorities[0]?.asn1 ?? new Uint8Array();
});
afterEach(() => server.stop());

const web = (trustDomain: string, more: object = {}): FederationRelationship =>
  FederationRelationship.fromPartial({
    trustDomain,
    bundleEndpointUrl: `https://${trustDomain}/bundle`,
    bundleEndpointProfile: { $case: "httpsWeb", value: {} },
    ...more,
  });
const spiffe = { $case: "httpsSpiffe", value: { endpointSpiffeId: "spiffe://e.org/x" } } as const;
const bundleOf = (trustDomain: string): object => ({
  trustDomainBundle: { trustDomain, x509Authorities: [{ asn1: root }], refreshHint: 9 },
});
const mask = (field: keyof FederationRelationshipMask): FederationRelationshipMask =>
  FederationRelationshipMask.fromPartial({ [field]: true });

const create = (
  federationRelationships: FederationRelationship[],
  outputMask?: FederationRelationshipMask,
): Promise<BatchCreateFederationRelationshipResponse> =>
  unary((done) =>
    server.local.trustDomain.batchCreateFederationRelationship(
      { federationRelationships, outputMask },
      done,
    ),
  );
const update = (
  federationRelationships: FederationRelationship[],
  inputMask?: FederationRelationshipMask,
  outputMask?: FederationRelationshipMask,
): Promise<BatchUpdateFederationRelationshipResponse> =>
  unary((done) =>
    server.local.trustDomain.batchUpdateFederationRelationship(
      { federationRelationships, inputMask, outputMask },
      done,
    ),
  );
const remove = (trustDomains: string[]): Promise<BatchDeleteFederationRelationshipResponse> =>
  unary((done) =>
    server.local.trustDomain.batchDeleteFederationRelationship({ trustDomains }, done),
  );
const list = (
  pageSize = 0,
  pageToken = "",
  outputMask?: FederationRelationshipMask,
): Promise<ListFederationRelationshipsResponse> =>
  unary((done) =>
    server.local.trustDomain.listFederationRelationships({ pageSize, pageToken, outputMask }, done),
  );
const get = (
  trustDomain: string,
  outputMask?: FederationRelationshipMask,
): Promise<FederationRelationship> =>
  unary((done) =>
    server.local.trustDomain.getFederationRelationship({ trustDomain, outputMask }, done),
  );
const refresh = (trustDomain: string, by: Clients = server.local): Promise<unknown> =>
  unary((done) => by.trustDomain.refreshBundle({ trustDomain }, done));

describe("creating", () => {
  test("gives what was made, without a bundle that was there before", async () => {
    await create([web("a.org", bundleOf("a.org"))]);
    await remove(["a.org"]);
    const { results } = await create([
      web("a.org"),
      web("b.org", { bundleEndpointProfile: spiffe }),
    ]);
    expect(results).toEqual([
      { status: { code: 0, message: "OK" }, federationRelationship: web("a.org") },
      {
        status: { code: 0, message: "OK" },
        federationRelationship: web("b.org", { bundleEndpointProfile: spiffe }),
      },
    ]);
    expect((await get("a.org")).trustDomainBundle?.refreshHint).toBe(9);
  });

  test("answers item by item, and what failed leaves the others alone", async () => {
    await create([web("there.org")]);
    const { results } = await create([
      web("there.org"),
      web("example.org"),
      web("No.org"),
      web("a.org", { bundleEndpointUrl: "http://a.org" }),
      web("a.org", { bundleEndpointProfile: undefined }),
      web("a.org", {
        bundleEndpointProfile: { $case: "httpsSpiffe", value: { endpointSpiffeId: "a.org" } },
      }),
      web("a.org", bundleOf("b.org")),
      web("a.org", {
        trustDomainBundle: { trustDomain: "a.org", x509Authorities: [{ asn1: root.subarray(1) }] },
      }),
      web("a.org"),
    ]);
    const converting = "failed to convert federation relationship: ";
    expect(results.map(({ status }) => [status?.code, status?.message])).toEqual([
      [
        StatusCode.INTERNAL,
        'failed to create federation relationship: a federation relationship with trust domain "there.org" already exists',
      ],
      [
        StatusCode.INVALID_ARGUMENT,
        "unable to create federation relationship for server trust domain",
      ],
      [
        StatusCode.INVALID_ARGUMENT,
        `${converting}failed to parse trust domain: trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores`,
      ],
      [StatusCode.INVALID_ARGUMENT, `${converting}bundle endpoint URL must use the https scheme`],
      [StatusCode.INVALID_ARGUMENT, `${converting}unsupported bundle endpoint profile type: <nil>`],
      [
        StatusCode.INVALID_ARGUMENT,
        `${converting}failed to parse endpoint SPIFFE ID: scheme is missing or invalid`,
      ],
      [
        StatusCode.INVALID_ARGUMENT,
        `${converting}trust domain bundle ("b.org") must match the trust domain of the federation relationship ("a.org")`,
      ],
      [
        StatusCode.INVALID_ARGUMENT,
        expect.stringContaining(
          `${converting}failed to parse bundle: unable to parse X.509 authority`,
        ),
      ],
      [StatusCode.OK, "OK"],
    ]);
    expect((await list()).federationRelationships).toEqual([web("there.org"), web("a.org")]);
  });
});

describe("updating", () => {
  test("replaces what the input mask names, and answers what the output mask names", async () => {
    await create([web("a.org")]);
    const wish = web("a.org", {
      bundleEndpointUrl: "https://moved.org",
      bundleEndpointProfile: spiffe,
      ...bundleOf("a.org"),
    });
    const { results } = await update(
      [wish],
      mask("bundleEndpointProfile"),
      mask("bundleEndpointUrl"),
    );
    expect(results).toEqual([
      {
        status: { code: 0, message: "OK" },
        federationRelationship: FederationRelationship.fromPartial({
          trustDomain: "a.org",
          bundleEndpointUrl: "https://a.org/bundle",
        }),
      },
    ]);
    expect(await get("a.org")).toEqual(web("a.org", { bundleEndpointProfile: spiffe }));
    await update([wish]);
    const all = await get("a.org");
    expect(all.bundleEndpointUrl).toBe("https://moved.org");
    expect(all.trustDomainBundle?.x509Authorities).toEqual([{ asn1: root, tainted: false }]);
  });

  test("of what is not there, or by half a relationship, is refused", async () => {
    const { results } = await update([web("a.org"), web("a.org", { bundleEndpointUrl: "" })]);
    expect(results.map(({ status }) => status)).toEqual([
      {
        code: StatusCode.INTERNAL,
        message:
          "failed to update federation relationship: unable to fetch federation relationship: record not found",
      },
      {
        code: StatusCode.INVALID_ARGUMENT,
        message:
          "failed to convert federation relationship: bundle endpoint URL must use the https scheme",
      },
    ]);
  });
});

test("deleting answers by name, and leaves the bundle", async () => {
  await create([web("a.org", bundleOf("a.org"))]);
  const { results } = await remove(["spiffe://a.org", "a.org", "", "A.org"]);
  expect(
    results.map(({ status, trustDomain }) => [trustDomain, status?.code, status?.message]),
  ).toEqual([
    ["a.org", StatusCode.OK, "OK"],
    ["a.org", StatusCode.NOT_FOUND, "federation relationship not found"],
    ["", StatusCode.INVALID_ARGUMENT, "missing trust domain"],
    ["A.org", StatusCode.INVALID_ARGUMENT, expect.stringContaining("failed to parse trust domain")],
  ]);
  const kept = await unary<Bundle>((done) =>
    server.local.bundle.getFederatedBundle({ trustDomain: "a.org", outputMask: undefined }, done),
  );
  expect(kept.refreshHint).toBe(9);
});

test("a listing comes page by page, as much of it as the mask asks for", async () => {
  await create(["c.org", "a.org", "b.org"].map((name) => web(name, bundleOf(name))));
  const first = await list(2);
  const second = await list(2, first.nextPageToken, mask("bundleEndpointUrl"));
  expect(first.federationRelationships.map(({ trustDomain }) => trustDomain)).toEqual([
    "c.org",
    "a.org",
  ]);
  expect(first.federationRelationships[0]?.trustDomainBundle?.refreshHint).toBe(9);
  expect(second).toEqual({
    federationRelationships: [
      FederationRelationship.fromPartial({
        trustDomain: "b.org",
        bundleEndpointUrl: "https://b.org/bundle",
      }),
    ],
    nextPageToken: "",
  });
  expect(await refused(list(2, "x"))).toMatchObject({ code: StatusCode.INTERNAL });
});

test("one that is not there, and what is no name, are told apart", async () => {
  expect(await refused(get("a.org"))).toMatchObject({
    code: StatusCode.NOT_FOUND,
    details: "federation relationship does not exist",
  });
  expect(await refused(get("A.org"))).toMatchObject({
    code: StatusCode.INVALID_ARGUMENT,
    details: expect.stringContaining("failed to parse trust domain: trust domain characters"),
  });
});

test("refreshing tells what is wrong", async () => {
  await create([web("a.org", { bundleEndpointProfile: spiffe })]);
  expect(await refused(refresh("b.org"))).toMatchObject({
    code: StatusCode.NOT_FOUND,
    details: 'no relationship with trust domain "b.org"',
  });
  expect(await refused(refresh("a.org"))).toMatchObject({
    code: StatusCode.INTERNAL,
    details:
      "failed to refresh bundle: can't perform SPIFFE Authentication: local copy of bundle not found",
  });
});

test("only operators may", async () => {
  const agent = await joinAgent(server);
  const workload = await asWorkload(server, "/workload");
  for (const stranger of [server.remote(), agent.clients, workload]) {
    expect(await refused(refresh("a.org", stranger))).toMatchObject({
      code: StatusCode.PERMISSION_DENIED,
    });
  }
});

test("the audit log has a line for each item, with no password of a URL", async () => {
  await create([
    web("a.org", { bundleEndpointProfile: spiffe, ...bundleOf("a.org") }),
    web("b.org", { bundleEndpointUrl: "https://me:secret@b.org/" }),
  ]);
  await update([web("a.org")], mask("bundleEndpointUrl"));
  await remove(["b.org"]);
  const audit = server.logged.filter(({ type }) => type === "audit");
  const lines = audit.filter(({ service }) => service === "trustdomain.v1.TrustDomain");
  expect(lines).toMatchObject([
    {
      method: "BatchCreateFederationRelationship",
      status: "success",
      trust_domain_id: "a.org",
      bundle_endpoint_url: "https://a.org/bundle",
      bundle_endpoint_profile: "https_spiffe",
      endpoint_spiffe_id: "spiffe://e.org/x",
      bundle_trust_domain_id: "a.org",
      bundle_refresh_hint: 9,
    },
    { status: "error", status_code: "InvalidArgument", trust_domain_id: "b.org" },
    { method: "BatchUpdateFederationRelationship", trust_domain_id: "a.org" },
    { status: "error", status_code: "NotFound", trust_domain_id: "b.org" },
  ]);
  expect(lines[2]).not.toHaveProperty("bundle_endpoint_profile");
  expect(JSON.stringify(server.logged)).not.toContain("secret");
});
