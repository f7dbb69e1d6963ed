/**
 * Every method of every service, called by every kind of caller on a running server, both endpoints. The methods are read from
 * the generated code, so one that has no line here fails; who may call what is written down anew, not taken from the rules.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join, resolve } from "node:path";
import type { ServiceDefinition, ServiceError } from "@grpc/grpc-js";
import type { RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import type { MintX509SVIDResponse } from "#proto/spire/api/server/svid/v1/svid.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import {
  type Clients,
  identityOf,
  joinAgent,
  newKey,
  ShiftedClock,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

const CALLERS = [
  "local",
  "anonymous",
  "workload",
  "admin entry",
  "admin_ids",
  "admin_ids of another trust domain",
  "downstream entry",
  "agent",
  "agent banned",
  "agent evicted",
  "agent expired",
  "agent with its former SVID",
  "another trust domain",
  "another server's trust domain of the same name",
] as const;

type Caller = (typeof CALLERS)[number];

const UNTRUSTED: readonly Caller[] = [
  "another trust domain",
  "another server's trust domain of the same name",
];
/** An expired SVID proves nothing, so whoever shows one is turned away before anything is asked. */
const ANYBODY: readonly Caller[] = CALLERS.filter(
  (caller) => !UNTRUSTED.includes(caller) && caller !== "agent expired",
);
const LOCAL: readonly Caller[] = ["local"];
const OPERATORS: readonly Caller[] = [
  "local",
  "admin entry",
  "admin_ids",
  "admin_ids of another trust domain",
];
const AGENT: readonly Caller[] = ["agent"];
const DOWNSTREAM: readonly Caller[] = ["downstream entry"];

/** Who is let in, by service and method. */
const TABLE: Readonly<Record<string, readonly (readonly [readonly Caller[], string])[]>> = {
  "spire.api.server.agent.v1.Agent": [
    [ANYBODY, "AttestAgent"],
    [AGENT, "RenewAgent PostStatus"],
    [OPERATORS, "CountAgents ListAgents GetAgent DeleteAgent BanAgent CreateJoinToken"],
  ],
  "spire.api.server.entry.v1.Entry": [
    [AGENT, "GetAuthorizedEntries SyncAuthorizedEntries"],
    [OPERATORS, "CountEntries ListEntries GetEntry"],
    [OPERATORS, "BatchCreateEntry BatchUpdateEntry BatchDeleteEntry"],
  ],
  "spire.api.server.svid.v1.SVID": [
    [AGENT, "BatchNewX509SVID NewJWTSVID BatchNewWITSVID"],
    [DOWNSTREAM, "NewDownstreamX509CA"],
    [OPERATORS, "MintX509SVID MintJWTSVID MintWITSVID"],
  ],
  "spire.api.server.bundle.v1.Bundle": [
    [ANYBODY, "GetBundle"],
    [[...OPERATORS, ...AGENT], "GetFederatedBundle"],
    [DOWNSTREAM, "PublishJWTAuthority PublishWITAuthority"],
    [OPERATORS, "AppendBundle CountBundles ListFederatedBundles"],
    [OPERATORS, "BatchCreateFederatedBundle BatchUpdateFederatedBundle"],
    [OPERATORS, "BatchSetFederatedBundle BatchDeleteFederatedBundle"],
  ],
  "spire.api.server.trustdomain.v1.TrustDomain": [
    [OPERATORS, "ListFederationRelationships GetFederationRelationship RefreshBundle"],
    [OPERATORS, "BatchCreateFederationRelationship BatchUpdateFederationRelationship"],
    [OPERATORS, "BatchDeleteFederationRelationship"],
  ],
  "spire.api.server.localauthority.v1.LocalAuthority": [
    [OPERATORS, "GetJWTAuthorityState PrepareJWTAuthority ActivateJWTAuthority"],
    [OPERATORS, "TaintJWTAuthority RevokeJWTAuthority"],
    [OPERATORS, "GetX509AuthorityState PrepareX509Authority ActivateX509Authority"],
    [OPERATORS, "TaintX509Authority RevokeX509Authority"],
    [OPERATORS, "TaintX509UpstreamAuthority RevokeX509UpstreamAuthority"],
    [OPERATORS, "GetWITAuthorityState PrepareWITAuthority ActivateWITAuthority"],
    [OPERATORS, "TaintWITAuthority RevokeWITAuthority"],
  ],
  "spire.api.server.logger.v1.Logger": [[LOCAL, "GetLogger SetLogLevel ResetLogLevel"]],
  "spire.api.server.debug.v1.Debug": [[LOCAL, "GetInfo"]],
  "grpc.health.v1.Health": [[LOCAL, "Check List Watch"]],
  "spire_edge.ca.v1.CA": [[LOCAL, "GetState GetRequest ImportCertificate"]],
  "spire_edge.jointoken.v1.JoinToken": [
    [OPERATORS, "CreateRejoinToken DeleteJoinToken GetJoinAddress"],
  ],
  "spire_edge.node.v1.Nodes": [[OPERATORS, "DescribeNodes FindNodes"]],
  "spire_edge.declared.v1.DeclaredEntries": [[OPERATORS, "ReconcileEntries FindSets"]],
  "spire_edge.changes.v1.Changes": [[AGENT, "WatchChanges"]],
};

interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** What the agent serves, and no server. */
const AGENTS_OWN = "spire_edge/explain";

/** Every method that the generated code of the server's services has. */
async function everyMethod(): Promise<Method[]> {
  const generated = resolve(import.meta.dir, "../../../../proto/gen");
  const files = ["spire/api/server", "spire_edge", "grpc/health"]
    .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*.ts`).scanSync(generated)].sort())
    .filter((file) => !file.startsWith(AGENTS_OWN));
  const modules = await Promise.all(files.map((file) => import(join(generated, file))));
  return modules
    .flatMap((module: object) => Object.entries(module))
    .filter(([name, value]) => /Service$/.test(name) && typeof value === "object")
    .flatMap(([, definition]) => Object.values(definition as ServiceDefinition));
}

const METHODS = await everyMethod();

function letIn(path: string): readonly Caller[] | undefined {
  const [, service = "", method = ""] = path.split("/");
  return TABLE[service]?.find(([, methods]) => methods.split(" ").includes(method))?.[0];
}

type Outcome = "let in" | "denied" | "unauthenticated" | "not served";

/** The server hangs up on callers it cannot know, soon after it said so; a call that is under way then is made again. */
async function call(clients: Clients, method: Method): Promise<Outcome> {
  const outcome = await callOnce(clients, method);
  return outcome === "cut off" ? await call(clients, method) : outcome;
}

/** Calls a method with an empty message and hears whether it was let in; what came of the call itself does not matter. */
async function callOnce({ agent: client }: Clients, method: Method): Promise<Outcome | "cut off"> {
  const { path, requestStream, responseStream } = method;
  const { promise, resolve: settle } = Promise.withResolvers<Outcome | "cut off">();
  const bytes = (value: Buffer): Buffer => value;
  const ended = (error: ServiceError | null): void => settle(outcomeOf(path, error));
  const empty = Buffer.alloc(0);
  if (!responseStream) {
    client.makeUnaryRequest(path, bytes, bytes, empty, ended);
    return promise;
  }
  const both = requestStream ? client.makeBidiStreamRequest(path, bytes, bytes) : undefined;
  const stream = both ?? client.makeServerStreamRequest(path, bytes, bytes, empty);
  stream.on("data", () => ended(null));
  stream.on("end", () => ended(null));
  stream.on("error", ended);
  both?.write(empty);
  both?.end();
  const outcome = await promise;
  stream.cancel();
  return outcome;
}

function outcomeOf(path: string, error: ServiceError | null): Outcome | "cut off" {
  // Only the client itself says this; what a server answers carries the server's words.
  if (error?.code === 14 && /Connection dropped|ECONNRESET|GOAWAY/i.test(error.details)) {
    return "cut off";
  }
  if (error?.code === 16) return "unauthenticated";
  if (error?.code === 12) return "not served";
  if (error?.code === 7 && error.details === `authorization denied for method ${path}`) {
    return "denied";
  }
  return "let in";
}

let server: TestServer;
let foreign: TestServer;
let impostor: TestServer;
const clients = new Map<Caller, Clients>();

beforeAll(async () => {
  const clock = new ShiftedClock();
  const adminIds = ["spiffe://example.org/boss", "spiffe://other.org/boss"].map(SpiffeId.parse);
  server = await startTestServer({ adminIds }, undefined, clock);
  foreign = await startTestServer({ trustDomain: TrustDomain.parse("other.org") });
  impostor = await startTestServer({ adminIds });
  const bundle = await unary<Bundle>((done) =>
    foreign.local.bundle.getBundle({ outputMask: undefined }, done),
  );
  await unary((done) =>
    server.local.bundle.batchSetFederatedBundle({ bundle: [bundle], outputMask: undefined }, done),
  );
  clients.set("agent expired", (await joinAgent(server)).clients);
  clock.advance(2 * 3600);
  clients.set("local", server.local);
  clients.set("anonymous", server.remote());
  clients.set("workload", await minted(server, "spiffe://example.org/web"));
  clients.set("admin entry", await registered("/operator", { admin: true }));
  clients.set("downstream entry", await registered("/site", { downstream: true }));
  clients.set("admin_ids", await minted(server, "spiffe://example.org/boss"));
  clients.set(
    "admin_ids of another trust domain",
    await minted(foreign, "spiffe://other.org/boss"),
  );
  clients.set("another trust domain", await minted(foreign, "spiffe://other.org/web"));
  clients.set(
    "another server's trust domain of the same name",
    await minted(impostor, "spiffe://example.org/boss"),
  );
  await addAgents();
});

afterAll(() => Promise.all([server.stop(), foreign.stop(), impostor.stop()]));

async function addAgents(): Promise<void> {
  const [good, banned, evicted] = await Promise.all([
    joinAgent(server),
    joinAgent(server),
    joinAgent(server),
  ]);
  await unary((done) => server.local.agent.banAgent({ id: banned.id }, done));
  await unary((done) => server.local.agent.deleteAgent({ id: evicted.id }, done));
  const key = await newKey();
  const { svid } = await unary<RenewAgentResponse>((done) =>
    good.clients.agent.renewAgent({ params: { csr: key.csr } }, done),
  );
  const renewed = server.remote(identityOf(key, svid));
  await unary((done) =>
    renewed.agent.postStatus({ agentVersion: "", currentBundleSerial: 0 }, done),
  );
  clients.set("agent", renewed);
  clients.set("agent with its former SVID", good.clients);
  clients.set("agent banned", banned.clients);
  clients.set("agent evicted", evicted.clients);
}

/** Clients of the server, with an SVID that some server's operator minted. */
async function minted(minter: TestServer, id: string): Promise<Clients> {
  const key = await newKey(id);
  const { svid } = await unary<MintX509SVIDResponse>((done) =>
    minter.local.svid.mintX509Svid({ csr: key.csr, ttl: 4 * 3600 }, done),
  );
  return server.remote(identityOf(key, svid));
}

async function registered(
  path: string,
  flags: { readonly admin?: boolean; readonly downstream?: boolean },
): Promise<Clients> {
  const entry = {
    id: "",
    spiffeId: { trustDomain: "example.org", path },
    parentId: { trustDomain: "example.org", path: "/host" },
    selectors: [{ type: "unix", value: "uid:0" }],
    x509SvidTtl: 0,
    jwtSvidTtl: 0,
    federatesWith: [],
    admin: false,
    downstream: false,
    expiresAt: 0,
    dnsNames: [],
    revisionNumber: 0,
    storeSvid: false,
    hint: "",
    createdAt: 0,
    additionalAttributes: undefined,
    ...flags,
  };
  await unary((done) =>
    server.local.entry.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
  );
  return minted(server, `spiffe://example.org${path}`);
}

function expected(caller: Caller, allowed: readonly Caller[]): Outcome {
  // What only local callers have business with is not there for the others.
  if (allowed === LOCAL && caller !== "local") return "not served";
  if (UNTRUSTED.includes(caller)) return "unauthenticated";
  return allowed.includes(caller) ? "let in" : "denied";
}

test.each(METHODS.map((method) => [method.path, method] as const))(
  "who is let in to %s",
  async (path, method) => {
    const allowed = letIn(path);
    if (allowed === undefined) throw new Error(`the table of this test has no line for ${path}`);
    const outcomes = await Promise.all(
      CALLERS.map(async (caller): Promise<[Caller, Outcome]> => {
        const who = clients.get(caller);
        if (who === undefined) throw new Error(`nobody is "${caller}"`);
        return [caller, await call(who, method)];
      }),
    );
    // A service that is not there answers all alike, before anybody is asked who they are.
    if (outcomes.every(([, outcome]) => outcome === "not served")) return;
    const heard = outcomes.map(([caller, outcome]) => [
      caller,
      outcome === "not served" && (allowed !== LOCAL || caller === "local") ? "let in" : outcome,
    ]);
    expect(Object.fromEntries(heard)).toEqual(
      Object.fromEntries(CALLERS.map((caller) => [caller, expected(caller, allowed)])),
    );
  },
);

test("no line of the table is about a method that does not exist", () => {
  const paths = new Set(METHODS.map(({ path }) => path));
  const written = Object.entries(TABLE).flatMap(([service, lines]) =>
    lines.flatMap(([, methods]) => methods.split(" ").map((method) => `/${service}/${method}`)),
  );
  expect(written.filter((path) => !paths.has(path))).toEqual([]);
});
