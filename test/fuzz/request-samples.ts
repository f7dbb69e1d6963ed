/** Every method that a server or an agent of ours has, with an encoded request that makes sense to it. */

import * as discovery from "#proto/envoy/service/discovery/v3/discovery.ts";
import { SecretDiscoveryServiceService } from "#proto/envoy/service/secret/v3/sds.ts";
import { HealthService } from "#proto/grpc/health/v1/health.ts";
import * as reflection from "#proto/grpc/reflection/v1/reflection.ts";
import * as workload from "#proto/spiffe/workload/workload.ts";
import { SpiffeWorkloadAPIService } from "#proto/spiffe/workload/workload.ts";
import { DebugService as AgentDebugService } from "#proto/spire/api/agent/debug/v1/debug.ts";
import * as delegated from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import { DelegatedIdentityService } from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import { LoggerService as AgentLoggerService } from "#proto/spire/api/agent/logger/v1/logger.ts";
import * as agents from "#proto/spire/api/server/agent/v1/agent.ts";
import { AgentService } from "#proto/spire/api/server/agent/v1/agent.ts";
import * as bundles from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { BundleService } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { DebugService } from "#proto/spire/api/server/debug/v1/debug.ts";
import * as entries from "#proto/spire/api/server/entry/v1/entry.ts";
import { EntryService } from "#proto/spire/api/server/entry/v1/entry.ts";
import * as authorities from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { LocalAuthorityService } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { LoggerService } from "#proto/spire/api/server/logger/v1/logger.ts";
import * as svids from "#proto/spire/api/server/svid/v1/svid.ts";
import { SVIDService } from "#proto/spire/api/server/svid/v1/svid.ts";
import * as trustDomains from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import { TrustDomainService } from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import { ChangesService } from "#proto/spire_edge/changes/v1/changes.ts";
import * as explain from "#proto/spire_edge/explain/v1/explain.ts";
import * as tokens from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { JoinTokenService } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { parseCsr } from "#x509/csr.ts";

export interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

const methodsOf = (...services: readonly Readonly<Record<string, unknown>>[]): readonly Method[] =>
  services.flatMap((service) => Object.values(service) as Method[]);

/** What answers on the server's endpoints. */
export const SERVER_METHODS: readonly Method[] = methodsOf(
  AgentService,
  BundleService,
  ChangesService,
  DebugService,
  EntryService,
  HealthService,
  JoinTokenService,
  LocalAuthorityService,
  LoggerService,
  SVIDService,
  TrustDomainService,
);
/** On the public socket of the agent. */
export const WORKLOAD_METHODS: readonly Method[] = methodsOf(
  explain.ExplainService,
  HealthService,
  SecretDiscoveryServiceService,
  reflection.ServerReflectionService,
  SpiffeWorkloadAPIService,
);
/** On its admin socket. */
export const AGENT_ADMIN_METHODS: readonly Method[] = methodsOf(
  AgentDebugService,
  AgentLoggerService,
  DelegatedIdentityService,
  explain.ExplainService,
);

/** What requests are made of. */
export interface Material {
  readonly csr: Uint8Array;
  readonly certificate: Uint8Array;
  readonly jwt: string;
  readonly entryId: string;
}

const ID = { trustDomain: "example.org", path: "/a" };
const SELECTORS = [{ type: "unix", value: "uid:1000" }];

interface Message {
  fromPartial(partial: object): unknown;
  encode(message: unknown): { finish(): Uint8Array };
}

const MESSAGES = {
  ...agents,
  ...authorities,
  ...bundles,
  ...delegated,
  ...discovery,
  ...entries,
  ...explain,
  ...reflection,
  ...svids,
  ...tokens,
  ...trustDomains,
  ...workload,
} as unknown as Readonly<Record<string, Message>>;

/** Messages that are not called like their method. */
const NAMES: Readonly<Record<string, string>> = {
  FetchJWTSVID: "JWTSVIDRequest",
  ServerReflectionInfo: "ServerReflectionRequest",
  StreamSecrets: "DiscoveryRequest",
};

/** Encoded requests by the end of their method's path; a method that is not here takes an empty one. */
export function encodedSamples(material: Material): ReadonlyMap<string, Uint8Array> {
  return new Map(
    Object.entries(samples(material)).map(([method, partial]) => {
      const name = NAMES[method] ?? `${method}Request`;
      const message = MESSAGES[name];
      if (message === undefined) throw new Error(`there is no message ${name}`);
      return [method, message.encode(message.fromPartial(partial)).finish()] as const;
    }),
  );
}

function samples({ csr, certificate, jwt, entryId }: Material): Readonly<Record<string, object>> {
  const publicKey = parseCsr(csr).publicKeySpki;
  const entry = {
    id: entryId,
    spiffeId: ID,
    parentId: { ...ID, path: "/node" },
    selectors: SELECTORS,
    x509SvidTtl: 60,
    jwtSvidTtl: 60,
    federatesWith: ["other.example"],
    dnsNames: ["a.example"],
    expiresAt: 4_000_000_000,
    hint: "h",
    admin: false,
  };
  const mask = { spiffeId: true, selectors: true, hint: true };
  const bundle = {
    trustDomain: "other.example",
    x509Authorities: [{ asn1: certificate, tainted: false }],
    jwtAuthorities: [],
    witAuthorities: [],
    refreshHint: 60,
    sequenceNumber: 1,
  };
  const relationship = {
    trustDomain: "other.example",
    bundleEndpointUrl: "https://127.0.0.1:1/",
    bundleEndpointProfile: {
      $case: "httpsSpiffe",
      value: { endpointSpiffeId: "spiffe://other.example/e" },
    },
    trustDomainBundle: bundle,
  };
  const page = { pageSize: 10, pageToken: "1" };
  const bySelectors = { selectors: SELECTORS, match: 1 };
  const agentFilter = {
    bySelectorMatch: bySelectors,
    byAttestationType: "join_token",
    byBanned: false,
    byCanReattest: true,
    byExpiresBefore: "2030-01-01 00:00:00 +0000 UTC",
  };
  const entryFilter = {
    bySpiffeId: ID,
    byParentId: ID,
    bySelectors,
    byFederatesWith: { trustDomains: ["other.example"], match: 1 },
    byHint: "h",
    byDownstream: true,
  };
  const params = { data: { type: "join_token", payload: Buffer.from("token") }, params: { csr } };
  return {
    AttestAgent: { step: { $case: "params", value: params } },
    RenewAgent: { params: { csr } },
    PostStatus: { currentBundleSerial: 1, agentVersion: "1" },
    CreateJoinToken: { ttl: 60, token: "", agentId: ID },
    CreateRejoinToken: { agentId: ID, ttl: 60 },
    DeleteJoinToken: { token: "token" },
    ListAgents: { filter: agentFilter, outputMask: { selectors: true }, ...page },
    CountAgents: { filter: agentFilter },
    GetAgent: { id: ID },
    DeleteAgent: { id: ID },
    BanAgent: { id: ID },
    GetBundle: { outputMask: { x509Authorities: true } },
    AppendBundle: { ...bundle, outputMask: undefined },
    PublishJWTAuthority: {
      jwtAuthority: { publicKey: Buffer.from("key"), keyId: "k", expiresAt: 4_000_000_000 },
    },
    ListFederatedBundles: page,
    GetFederatedBundle: { trustDomain: "other.example" },
    BatchCreateFederatedBundle: { bundle: [bundle] },
    BatchUpdateFederatedBundle: { bundle: [bundle], inputMask: { refreshHint: true } },
    BatchSetFederatedBundle: { bundle: [bundle] },
    BatchDeleteFederatedBundle: { trustDomains: ["other.example"], mode: 1 },
    ListEntries: { filter: entryFilter, outputMask: mask, ...page },
    CountEntries: { filter: entryFilter },
    GetEntry: { id: entryId, outputMask: mask },
    BatchCreateEntry: { entries: [entry, { ...entry, id: "" }], outputMask: mask },
    BatchUpdateEntry: { entries: [entry], inputMask: mask },
    BatchDeleteEntry: { ids: ["none"] },
    SyncAuthorizedEntries: { outputMask: mask, ids: [entryId] },
    TaintX509Authority: { authorityId: "aa" },
    TaintX509UpstreamAuthority: { subjectKeyId: "aa" },
    RevokeX509Authority: { authorityId: "aa" },
    RevokeX509UpstreamAuthority: { subjectKeyId: "aa" },
    ActivateX509Authority: { authorityId: "aa" },
    TaintJWTAuthority: { authorityId: "aa" },
    RevokeJWTAuthority: { authorityId: "aa" },
    ActivateJWTAuthority: { authorityId: "aa" },
    MintX509SVID: { csr, ttl: 60 },
    MintJWTSVID: { id: ID, audience: ["b"], ttl: 60 },
    MintWITSVID: { id: ID, publicKey, signingAlgorithm: "ES256", ttl: 60 },
    BatchNewX509SVID: { params: [{ entryId, csr }] },
    BatchNewWITSVID: { params: [{ entryId, publicKey, signingAlgorithm: "ES256" }] },
    NewJWTSVID: { entryId, audience: ["b"] },
    NewDownstreamX509CA: { csr, preferredTtl: 60 },
    BatchCreateFederationRelationship: { federationRelationships: [relationship] },
    BatchUpdateFederationRelationship: {
      federationRelationships: [relationship],
      inputMask: { bundleEndpointUrl: true },
    },
    BatchDeleteFederationRelationship: { trustDomains: ["other.example"] },
    GetFederationRelationship: { trustDomain: "other.example" },
    ListFederationRelationships: page,
    RefreshBundle: { trustDomain: "other.example" },
    ExplainWorkload: { pid: 1 },
    FetchJWTSVID: { audience: ["b"], spiffeId: "spiffe://example.org/a" },
    ValidateJWTSVID: { audience: "b", svid: jwt },
    SubscribeToX509SVIDs: { selectors: SELECTORS },
    FetchJWTSVIDs: { audience: ["b"], selectors: SELECTORS },
    ServerReflectionInfo: { host: "h", messageRequest: { $case: "listServices", value: "" } },
    StreamSecrets: {
      typeUrl: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
      resourceNames: ["default", "spiffe://example.org"],
      node: { id: "n", metadata: { a: { b: [1, "x", null] } } },
      errorDetail: { code: 3, message: "m", details: [] },
    },
  };
}
