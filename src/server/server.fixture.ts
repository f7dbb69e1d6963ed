/** A server in this process, with a store, listeners and clients of its own; only tests use it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChannelCredentials, credentials, type ServiceError } from "@grpc/grpc-js";
import { type Clock, systemClock, type Timer } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import {
  AgentClient,
  AttestAgentRequest as Attest,
  type AttestAgentRequest,
  type AttestAgentResponse,
} from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { EntryClient } from "#proto/spire/api/server/entry/v1/entry.ts";
import { LocalAuthorityClient } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { type MintX509SVIDResponse, SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import { TrustDomainClient } from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import type { X509SVID } from "#proto/spire/api/types/x509svid.ts";
import { ChangesClient } from "#proto/spire_edge/changes/v1/changes.ts";
import { DeclaredEntriesClient } from "#proto/spire_edge/declared/v1/declared.ts";
import { JoinTokenClient } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import type { ServerConfig } from "#server/config/config.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { createCsr } from "#x509/csr.ts";
import { generatePrivateKey, privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import type { RunningServer } from "./running-server.ts";
import { runServer } from "./server.ts";

export interface Clients {
  readonly agent: AgentClient;
  readonly bundle: BundleClient;
  readonly changes: ChangesClient;
  readonly declaredEntries: DeclaredEntriesClient;
  readonly entry: EntryClient;
  readonly localAuthority: LocalAuthorityClient;
  readonly joinToken: JoinTokenClient;
  readonly svid: SVIDClient;
  readonly trustDomain: TrustDomainClient;
}

export interface ClientIdentity {
  readonly privateKeyPem: string;
  readonly certificateChainPem: string;
}

/** The machine's clock, as far ahead as a test puts it. Timers that run already do not notice. */
export class ShiftedClock implements Clock {
  #aheadMs = 0;

  advance(seconds: number): void {
    this.#aheadMs += seconds * 1000;
  }

  nowMs(): number {
    return systemClock.nowMs() + this.#aheadMs;
  }

  nowSeconds(): number {
    return Math.floor(this.nowMs() / 1000);
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#aheadMs;
  }

  after(milliseconds: number, run: () => void): Timer {
    return systemClock.after(milliseconds, run);
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(milliseconds, signal);
  }
}

export interface TestServer {
  readonly config: ServerConfig;
  readonly server: RunningServer;
  /** What was logged, parsed. */
  readonly logged: Readonly<Record<string, unknown>>[];
  /** Over the admin socket. */
  readonly local: Clients;
  /** Over TLS, with or without a client certificate. */
  remote(identity?: ClientIdentity): Clients;
  stop(): Promise<void>;
}

/** Starts a server on a free port, in a temporary directory that goes when it stops. */
export async function startTestServer(
  change: Partial<ServerConfig> = {},
  directory: string = mkdtempSync(join(tmpdir(), "spire-server-")),
  clock: Clock = systemClock,
): Promise<TestServer> {
  const config = testConfig(directory, change);
  const logged: Record<string, unknown>[] = [];
  const log = createLog({ level: "debug", format: "json" }, () => systemClock.nowMs(), {
    write: (line) => void logged.push(JSON.parse(line)),
  });
  const server = await runServer(config, {
    log,
    version: "test",
    clock,
    random: systemRandom,
  });
  const opened: Clients[] = [];
  const keep = (clients: Clients): Clients => {
    opened.push(clients);
    return clients;
  };
  return {
    config,
    server,
    logged,
    local: keep(localClients(config.socketPath)),
    remote: (identity) => keep(remoteClients(server.address, identity)),
    stop: async () => {
      for (const clients of opened) closeClients(clients);
      await server.stop();
      rmSync(directory, { recursive: true });
    },
  };
}

const NO_TELEMETRY: ServerConfig["telemetry"] = {
  trustDomainLabel: false,
  hostnameLabel: false,
  allowedPrefixes: [],
  blockedPrefixes: [],
  blockedLabels: [],
};

/** A configuration that lies wholly in the directory. */
export function testConfig(directory: string, change: Partial<ServerConfig> = {}): ServerConfig {
  return {
    trustDomain: TrustDomain.parse("example.org"),
    dataDir: join(directory, "data"),
    bindAddress: "127.0.0.1",
    bindPort: 0,
    socketPath: join(directory, "private", "api.sock"),
    adminIds: [],
    agentTtlSeconds: 3600,
    auditLogEnabled: false,
    auditLogReads: false,
    caKeyType: "ec-p256",
    jwtKeyType: "ec-p256",
    caSubject: { country: ["US"], organization: ["SPIFFE"], commonName: "" },
    caTtlSeconds: 86_400,
    defaultX509SvidTtlSeconds: 3600,
    defaultJwtSvidTtlSeconds: 300,
    disableJwtSvids: false,
    jwtIssuer: "",
    federation: { federatesWith: [] },
    log: { level: "debug", format: "text" },
    rateLimit: { attestation: false, signing: false },
    plugins: {
      dataStore: {
        name: "sql",
        databaseType: "sqlite3",
        connectionString: join(directory, "data", "datastore.sqlite3"),
      },
      keyManager: { name: "memory" },
      nodeAttestors: [{ name: "join_token" }],
    },
    telemetry: NO_TELEMETRY,
    experimental: { agentSpiffeIdAsSelector: false, requirePqKem: false },
    warnings: [],
    notes: [],
    ...change,
  };
}

/** Clients of any server over its admin socket. */
export function localClients(socketPath: string): Clients {
  return clientsOf(`unix:${socketPath}`, credentials.createInsecure());
}

/** Clients of any server over TLS, with or without a client certificate. */
export function remoteClients(address: string, identity?: ClientIdentity): Clients {
  return clientsOf(address, tlsCredentials(identity));
}

export function closeClients(clients: Clients): void {
  for (const client of Object.values(clients)) client.close();
}

function clientsOf(address: string, credential: ChannelCredentials): Clients {
  const options = {
    "grpc.ssl_target_name_override": "localhost",
    "grpc.use_local_subchannel_pool": 1,
  };
  return {
    agent: new AgentClient(address, credential, options),
    bundle: new BundleClient(address, credential, options),
    changes: new ChangesClient(address, credential, options),
    declaredEntries: new DeclaredEntriesClient(address, credential, options),
    entry: new EntryClient(address, credential, options),
    localAuthority: new LocalAuthorityClient(address, credential, options),
    joinToken: new JoinTokenClient(address, credential, options),
    svid: new SVIDClient(address, credential, options),
    trustDomain: new TrustDomainClient(address, credential, options),
  };
}

/** What the server shows is not the matter of these tests, so it is not checked. */
function tlsCredentials(identity: ClientIdentity | undefined): ChannelCredentials {
  const key = identity === undefined ? null : Buffer.from(identity.privateKeyPem);
  const chain = identity === undefined ? null : Buffer.from(identity.certificateChainPem);
  return credentials.createSsl(null, key, chain, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
}

/** Makes one call of a generated client and waits for its answer. */
export function unary<Response>(
  call: (done: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

/** The error a call ends with. @throws Error when it succeeds */
export async function refused(call: Promise<unknown>): Promise<unknown> {
  // Not expect().rejects: it waits by turning the event loop itself, and inside a callback of HTTP/2 that never ends.
  const outcome = await call.then(
    (response) => ({ response }),
    (error: unknown) => ({ error }),
  );
  if ("error" in outcome) return outcome.error;
  throw new Error(`not refused: ${JSON.stringify(outcome.response)}`);
}

export interface NewKey {
  readonly privateKeyPem: string;
  readonly csr: Uint8Array;
}

/** A new key and a request signed with it. */
export async function newKey(uriSan?: string, dnsSans: string[] = []): Promise<NewKey> {
  const key = await generatePrivateKey("ec-p256");
  const request = { signer: signerFromPrivateKey(key), dnsSans };
  const csr = await createCsr(uriSan === undefined ? request : { ...request, uriSan });
  return { privateKeyPem: privateKeyToPkcs8Pem(key), csr };
}

export function identityOf({ privateKeyPem }: NewKey, svid: X509SVID | undefined): ClientIdentity {
  if (svid === undefined) throw new Error("the answer holds no SVID");
  return { privateKeyPem, certificateChainPem: certificatesToPem(svid.certChain) };
}

/** Runs an attestation that needs no challenge. */
export function attest(client: AgentClient, params: AttestParams): Promise<AttestAgentResponse> {
  return new Promise((resolve, reject) => {
    const stream = client.attestAgent();
    stream.on("data", resolve);
    stream.on("error", reject);
    stream.write(attestRequest(params));
    stream.end();
  });
}

export interface AttestParams {
  readonly type?: string;
  readonly payload: string;
  readonly csr: Uint8Array;
}

function attestRequest({ type = "join_token", payload, csr }: AttestParams): AttestAgentRequest {
  return Attest.fromPartial({
    step: {
      $case: "params",
      value: { data: { type, payload: Buffer.from(payload) }, params: { csr } },
    },
  });
}

export interface JoinedAgent {
  readonly id: { readonly trustDomain: string; readonly path: string };
  readonly identity: ClientIdentity;
  readonly clients: Clients;
}

/** Has a new agent join by token; with an alias, it takes that ID for its children as well. */
export async function joinAgent(
  test: Pick<TestServer, "local" | "remote">,
  aliasPath?: string,
): Promise<JoinedAgent> {
  const agentId =
    aliasPath === undefined ? undefined : { trustDomain: "example.org", path: aliasPath };
  const { value } = await unary<JoinToken>((done) =>
    test.local.agent.createJoinToken({ ttl: 600, token: "", agentId }, done),
  );
  const key = await newKey();
  const { step } = await attest(test.remote().agent, { payload: value, csr: key.csr });
  if (step?.$case !== "result") throw new Error("the attestation did not end with a result");
  const identity = identityOf(key, step.value.svid);
  return {
    id: { trustDomain: "example.org", path: `/spire/agent/join_token/${value}` },
    identity,
    clients: test.remote(identity),
  };
}

/** Clients with an SVID that the operator minted for the path. */
export async function asWorkload(
  test: Pick<TestServer, "local" | "remote">,
  path: string,
): Promise<Clients> {
  const key = await newKey(`spiffe://example.org${path}`);
  const { svid } = await unary<MintX509SVIDResponse>((done) =>
    test.local.svid.mintX509Svid({ csr: key.csr, ttl: 0 }, done),
  );
  return test.remote(identityOf(key, svid));
}
