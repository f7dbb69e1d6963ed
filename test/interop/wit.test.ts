/**
 * WIT-SVIDs of our server and of the reference's, for the same keys and the same wishes: the same tokens but for key ID and times, the same
 * refusals. And a server that has them serves agents of both, whose bundles know nothing of them.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { compactVerify, decodeProtectedHeader } from "jose";
import { SpiffeWorkloadAPIClient } from "#proto/spiffe/workload/workload.ts";
import type { BatchCreateEntryResponse } from "#proto/spire/api/server/entry/v1/entry.ts";
import type {
  BatchNewWITSVIDResponse,
  MintWITSVIDResponse,
  NewWITSVIDParams,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import { Bundle, BundleMask } from "#proto/spire/api/types/bundle.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import {
  asWorkload,
  type ClientIdentity,
  type Clients,
  closeClients,
  type JoinedAgent,
  joinAgent,
  localClients,
  refused,
  remoteClients,
  unary,
} from "#server/server.fixture.ts";
import { eventually, run } from "../support/process.ts";
import { GO_CLIENT, type Implementation, Stage, TestAgent, TestServer } from "../support/spire.ts";

const CA_TTL_SECONDS = 7200;
const SETTINGS = `ca_ttl = "${CA_TTL_SECONDS}s"
  experimental {
    feature_flags = ["wit-svid"]
    wit_key_type = "ec-p384"
    wit_issuer = "https://issuer.example.org"
    cache_reload_interval = "1s"
  }`;

const both: readonly Implementation[] = ["ours", "reference"];

class Peer {
  readonly server: TestServer;
  readonly local: Clients;
  readonly agent: JoinedAgent;
  readonly remote: (identity?: ClientIdentity) => Clients;
  /** All that `remote` gave. */
  readonly #opened: readonly Clients[];

  private constructor(
    server: TestServer,
    local: Clients,
    remote: Peer["remote"],
    agent: JoinedAgent,
    opened: readonly Clients[],
  ) {
    this.server = server;
    this.local = local;
    this.remote = remote;
    this.agent = agent;
    this.#opened = opened;
  }

  static async start(
    stage: Stage,
    implementation: Implementation,
    settings: string = SETTINGS,
  ): Promise<Peer> {
    const server = await TestServer.start(stage, implementation, { settings });
    const opened: Clients[] = [];
    const local = localClients(server.socket);
    const remote = (identity?: ClientIdentity): Clients => {
      const clients = remoteClients(`127.0.0.1:${server.port}`, identity);
      opened.push(clients);
      return clients;
    };
    return new Peer(server, local, remote, await joinAgent({ local, remote }), opened);
  }

  close(): void {
    for (const clients of [this.local, ...this.#opened]) closeClients(clients);
  }

  mint(asked: Asked = {}): Promise<MintWITSVIDResponse> {
    const id = { trustDomain: "example.org", path: "/minted" };
    const request = { publicKey: spki(P256), signingAlgorithm: "ES256", id, ttl: 0, ...asked };
    return unary((done) => this.local.svid.mintWitsvid(request, done));
  }

  batch(...params: NewWITSVIDParams[]): Promise<BatchNewWITSVIDResponse> {
    return unary((done) => this.agent.clients.svid.batchNewWitsvid({ params }, done));
  }

  /** An entry of the agent's that its server knows it by. */
  async entry(part: Parameters<typeof Entry.fromPartial>[0]): Promise<string> {
    const selectors = [{ type: "unix", value: "uid:1" }];
    const entry = Entry.fromPartial({ parentId: this.agent.id, selectors, ...part });
    const { results } = await unary<BatchCreateEntryResponse>((done) =>
      this.local.entry.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
    );
    const entryId = results[0]?.entry?.id ?? "";
    const params = { entryId, publicKey: spki(P256), signingAlgorithm: "ES256" };
    await eventually("the agent may have the entry", async () => {
      const [result] = (await this.batch(params)).results;
      return result?.svid !== undefined || undefined;
    });
    return entryId;
  }

  bundle(mask: Partial<BundleMask> = {}): Promise<Bundle> {
    const outputMask = Object.keys(mask).length === 0 ? undefined : BundleMask.fromPartial(mask);
    return unary((done) => this.local.bundle.getBundle({ outputMask }, done));
  }

  /** What a token says, byte for byte, but for what differs with each server and each second. */
  async shown(token: string): Promise<string[]> {
    const { kid } = decodeProtectedHeader(token);
    const authority = (await this.bundle()).witAuthorities.find(({ keyId }) => keyId === kid);
    const key = Buffer.from(authority?.publicKey ?? []);
    await compactVerify(token, createPublicKey({ key, format: "der", type: "spki" }));
    const [header = "", payload = ""] = token
      .split(".")
      .map((part) => Buffer.from(part, "base64url").toString());
    return [
      header.replace(/"kid":"\w{32}"/, '"kid":"…"'),
      payload.replace(/"(exp|iat)":\d{10}/g, '"$1":…'),
    ];
  }
}

const P256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
const P384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey;
const P521 = generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey;
const RSA = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;

const spki = (key: KeyObject): Uint8Array => key.export({ type: "spki", format: "der" });

interface Asked {
  readonly publicKey?: Uint8Array;
  readonly signingAlgorithm?: string;
  readonly id?: { trustDomain: string; path: string };
  readonly ttl?: number;
}

const stage = new Stage();
let ours: Peer;
let reference: Peer;
beforeAll(async () => {
  [ours, reference] = await Promise.all([
    Peer.start(stage, "ours"),
    Peer.start(stage, "reference"),
  ]);
}, 60_000);
afterAll(async () => {
  for (const peer of [ours, reference]) peer.close();
  await stage.close();
}, 60_000);

/** What both servers do, side by side. */
async function compared<T>(work: (peer: Peer) => Promise<T>): Promise<{ ours: T; theirs: T }> {
  const [our, their] = await Promise.all([work(ours), work(reference)]);
  return { ours: our, theirs: their };
}

describe("both servers mint", () => {
  test.each([
    ["ES256", P256],
    ["ES384", P384],
    ["ES512", P521],
    ["RS256", RSA],
    ["PS512", RSA],
  ])("the same token for a key that signs with %s", async (signingAlgorithm, key) => {
    const tokens = await compared(async (peer) => {
      const { svid } = await peer.mint({ publicKey: spki(key), signingAlgorithm });
      return await peer.shown(svid?.token ?? "");
    });
    expect(tokens.ours).toEqual(tokens.theirs);
    expect(tokens.ours[1]).toContain('"sub":"spiffe://example.org/minted"');
  });

  test.each([0, -5, 60, 1_000_000])("with the same life when asked for %i s", async (ttl) => {
    const lives = await compared(async (peer) => {
      const { svid } = await peer.mint({ ttl });
      return (svid?.expiresAt ?? 0) - (svid?.issuedAt ?? 0);
    });
    // What is cut to the key's life depends on the second in which the key was made.
    if (ttl < CA_TTL_SECONDS) expect(lives.ours).toBe(lives.theirs);
    else expect(Math.abs(lives.ours - lives.theirs)).toBeLessThan(60);
  });

  const id = (trustDomain: string, path: string): Asked => ({ id: { trustDomain, path } });
  test.each<[string, Asked]>([
    ["another trust domain", id("other.org", "/x")],
    ["no path", id("example.org", "")],
    ["the server's name", id("example.org", "/spire/server")],
    ["no key", { publicKey: new Uint8Array() }],
    ["what is no key", { publicKey: Buffer.from("x") }],
    ["another curve's algorithm", { signingAlgorithm: "ES384" }],
    ["an unknown algorithm", { signingAlgorithm: "ES123" }],
    ["RSA with an algorithm for curves", { publicKey: spki(RSA), signingAlgorithm: "ES256" }],
  ])("nothing for %s, in the same words", async (_what, asked) => {
    const refusals = await compared(async (peer) => {
      const { code, details } = (await refused(peer.mint(asked))) as ServiceError;
      return { code, details: withoutParser(details) };
    });
    expect(refusals.ours).toEqual(refusals.theirs);
  });
});

/** How a parser complains of a key is its own affair. */
function withoutParser(message: string): string {
  return message.replace(/^((?:invalid|malformed) public key): .*$/, "$1");
}

test("both answer a batch alike", async () => {
  const answers = await compared(async (peer) => {
    const spiffeId = { trustDomain: "example.org", path: "/web" };
    const entryId = await peer.entry({ spiffeId, x509SvidTtl: 120 });
    const good = { entryId, publicKey: spki(P384), signingAlgorithm: "ES384" };
    const { results } = await peer.batch(
      good,
      { ...good, entryId: "unknown" },
      { ...good, entryId: "" },
      { ...good, publicKey: new Uint8Array() },
      { ...good, publicKey: Buffer.from("x") },
      { ...good, signingAlgorithm: "ES256" },
    );
    const [first] = results;
    const { token = "", id, expiresAt = 0, issuedAt = 0 } = first?.svid ?? {};
    const statuses = results
      .slice(1)
      .map(({ status, svid }) => [status?.code, withoutParser(status?.message ?? ""), svid]);
    const none = (await refused(peer.batch())) as ServiceError;
    const shown = await peer.shown(token);
    return { shown, id, life: expiresAt - issuedAt, statuses, none: [none.code, none.details] };
  });
  expect(answers.ours).toEqual(answers.theirs);
  expect(answers.ours.life).toBe(120);
}, 30_000);

test("without the feature flag neither signs; ours refuses a batch as a whole", async () => {
  const [our, their] = await Promise.all([
    Peer.start(stage, "ours", ""),
    Peer.start(stage, "reference", ""),
  ]);
  const disabled = { code: 12, details: "WIT functionality is disabled" };
  for (const peer of [our, their]) {
    expect(await refused(peer.mint())).toMatchObject(disabled);
    expect(await peer.bundle()).toMatchObject({ witAuthorities: [] });
  }
  const params = { entryId: "unknown", publicKey: spki(P256), signingAlgorithm: "ES256" };
  expect(await refused(our.batch(params))).toMatchObject(disabled);
  const { results } = await their.batch(params);
  expect(results).toMatchObject([{ status: { code: 5 } }]);
  for (const peer of [our, their]) {
    peer.close();
    await peer.server.daemon.stop();
  }
}, 30_000);

test("neither has RPCs for keys for WIT-SVIDs, by hand or from a server below", async () => {
  const answers = await compared(async (peer) => {
    const { localAuthority } = peer.local;
    const named = { authorityId: (await peer.bundle()).witAuthorities[0]?.keyId ?? "" };
    const byHand = [
      unary((done) => localAuthority.getWitAuthorityState({}, done)),
      unary((done) => localAuthority.prepareWitAuthority({}, done)),
      unary((done) => localAuthority.activateWitAuthority(named, done)),
      unary((done) => localAuthority.taintWitAuthority(named, done)),
      unary((done) => localAuthority.revokeWitAuthority(named, done)),
    ].map(refused);
    const spiffeId = { trustDomain: "example.org", path: "/below" };
    await peer.entry({ spiffeId, downstream: true });
    const { bundle } = await asWorkload(peer, "/below");
    const witAuthority = { publicKey: spki(P256), keyId: "k", expiresAt: 0, tainted: false };
    const published = unary((done) => bundle.publishWitAuthority({ witAuthority }, done));
    const refusals = await Promise.all([...byHand, refused(published)]);
    return (refusals as ServiceError[]).map(({ code, details }) => [code, details]);
  });
  expect(answers.ours).toEqual(answers.theirs);
  expect(answers.ours).toEqual(
    Array(6).fill([12, "WIT-SVID functionality is not yet implemented"]),
  );
}, 30_000);

test.each([
  ["everything", {}],
  ["keys for WIT-SVIDs", { witAuthorities: true }],
  ["other keys", { jwtAuthorities: true }],
])("both show their bundle alike when asked for %s", async (_what, mask) => {
  const bundles = await compared(async (peer) => {
    const { x509Authorities, jwtAuthorities, witAuthorities } = await peer.bundle(mask);
    return [x509Authorities, jwtAuthorities, witAuthorities].map(({ length }) => length);
  });
  expect(bundles.ours).toEqual(bundles.theirs);
});

test("neither takes keys for WIT-SVIDs from operators, downstream servers or other trust domains", async () => {
  const answers = await compared(async (peer) => {
    const { witAuthorities, x509Authorities } = await peer.bundle();
    const none = { x509Authorities: [], jwtAuthorities: [], outputMask: undefined };
    const append = { ...none, witAuthorities };
    const appended = unary((done) => peer.local.bundle.appendBundle(append, done));
    const { code, details } = (await refused(appended)) as ServiceError;
    const foreign = { trustDomain: "other.org", x509Authorities, witAuthorities };
    const bundle = [Bundle.fromPartial(foreign)];
    const request = { bundle, outputMask: undefined };
    await unary((done) => peer.local.bundle.batchSetFederatedBundle(request, done));
    const named = { trustDomain: "other.org", outputMask: undefined };
    const kept = await unary<Bundle>((done) => peer.local.bundle.getFederatedBundle(named, done));
    return { code, details, kept: [kept.x509Authorities.length, kept.witAuthorities.length] };
  });
  expect(answers.ours).toEqual(answers.theirs);
  expect(answers.ours.kept).toEqual([1, 0]);
});

describe.each(both)("an agent of the other kind below the %s server", (implementation) => {
  test("serves what it did, and no WIT-SVIDs", async () => {
    const { server } = implementation === "ours" ? ours : reference;
    const other = implementation === "ours" ? "reference" : "ours";
    const agent = await TestAgent.start(stage, other, server);
    await server.entry("spiffe://example.org/app", agent.id, [
      `unix:uid:${process.getuid?.() ?? 0}`,
    ]);
    const bundles = await eventually("the workload has an identity", async () => {
      const answer = await run([GO_CLIENT, "bundles", agent.socket, "example.org"]);
      return answer.code === 0 ? JSON.parse(answer.stdout) : undefined;
    });
    const trustDomain = "example.org";
    expect(bundles).toEqual({ trustDomain, x509Authorities: 1, jwtAuthorities: 1 });
    const notServed = { code: 12, details: "fetching WIT-SVIDs is not implemented" };
    expect(await witRefusal(agent)).toMatchObject(notServed);
  }, 60_000);
});

test("both go on with the same key after a restart", async () => {
  const signers = await compared(async ({ server }) => {
    const signer = async (): Promise<unknown> => {
      const words = ["wit", "mint", "-spiffeID", "spiffe://example.org/x"];
      const env = { SPIRE_SERVER_FFLAGS: "wit-svid" };
      const { stdout } = await server.cliOf(server.implementation, words, { env });
      return decodeProtectedHeader(stdout.split("\n")[0] ?? "").kid;
    };
    const before = await signer();
    await server.daemon.stop();
    await server.start();
    return [before, await signer()];
  });
  for (const [before, after] of [signers.ours, signers.theirs]) {
    expect(before).toMatch(/^\w{32}$/);
    expect(after).toBe(before);
  }
}, 60_000);

/** How the Workload API of an agent answers who wants a WIT-SVID. */
async function witRefusal(agent: TestAgent): Promise<ServiceError> {
  const client = new SpiffeWorkloadAPIClient(`unix:${agent.socket}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("workload.spiffe.io", "true");
  const { promise, resolve, reject } = Promise.withResolvers<ServiceError>();
  const stream = client.fetchWitsvid({ spiffeId: "" }, metadata);
  stream.on("error", resolve);
  stream.on("data", () => reject(new Error("it was served")));
  return await promise.finally(() => client.close());
}
