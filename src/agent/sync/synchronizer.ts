/**
 * Keeps the cache true: entries and bundles from the server as they change, SVIDs issued as soon as an entry wants one and replaced in
 * time, the agent's own SVID likewise; none of it waits for another part. Ends for good only when the server says that this agent is no
 * more.
 */

import type { AgentSvid } from "#agent/attestation/agent-svid.ts";
import type { Bootstrap } from "#agent/attestation/bootstrap.ts";
import type { JoinFile } from "#agent/attestation/join-file.ts";
import { AgentRefusedError } from "#agent/attestation/refusal.ts";
import { explainClocks } from "#agent/attestation/server-clock.ts";
import type { ServerClients } from "#agent/attestation/server-connection.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { type Failure, failureOf } from "#agent/own-svid/failure.ts";
import { OwnSvid } from "#agent/own-svid/own-svid.ts";
import type { RotationRule } from "#agent/own-svid/rotation.ts";
import { ServerLink, type ServerLinkParts } from "#agent/own-svid/server-link.ts";
import { TaintedAuthorities } from "#agent/own-svid/taint.ts";
import type { NodeAttestorAgent } from "#attestors/attestor.ts";
import { Backoff } from "#clock/backoff.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { callUnary } from "#grpc/client.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import { isUnknownAuthority } from "#grpc/verifying-credentials.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import { Recurring } from "#log/recurring.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import type { KeyType } from "#x509/signer.ts";
import { CacheUpdates } from "./cache-updates.ts";
import type { JwtSvids } from "./jwt-svids.ts";
import { pauseMs, pausesAfterFailures } from "./pace.ts";
import { type IssuanceStatus, SvidIssuer } from "./svid-issuer.ts";
import { ChangeWatch } from "./watch-changes.ts";

const RPC_TIMEOUT_MS = 30_000;
const TAINTED = ["cache_manager"];

export interface SynchronizerParts extends Pick<ServerLinkParts, "save" | "attestors"> {
  readonly address: ServerAddress;
  readonly syncIntervalSeconds: number;
  readonly rotation: RotationRule;
  readonly workloadKeyType: KeyType;
  readonly keys: KeyManager;
  readonly bootstrap: Bootstrap;
  /** What the server is told. */
  readonly version: string;
  /** Asked each time the node is attested. @throws CannotAttestError */
  readonly openAttestor: () => Promise<NodeAttestorAgent>;
  readonly joinFile: JoinFile;
  readonly cache: WorkloadCache;
  readonly jwtSvids: JwtSvids;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** What the agent has to say of its server, and of itself towards it. */
export interface SyncStatus {
  /** `host:port` */
  readonly address: string;
  /** Unix seconds of the last time that everything was fetched; 0 for never. */
  readonly lastSyncSuccess: number;
  /** Whether it tells of changes as they happen. */
  readonly tellsChanges: boolean;
  readonly failure: Failure | undefined;
  /** The agent's own SVID; times in Unix seconds. */
  readonly own: {
    readonly id: string;
    readonly expiresAt: number;
    readonly renewAt: number;
    readonly failure: Failure | undefined;
  };
}

export class Synchronizer {
  readonly #parts: SynchronizerParts;
  readonly #link: ServerLink;
  readonly #own: OwnSvid;
  readonly #tainted: TaintedAuthorities;
  readonly #updates: CacheUpdates;
  readonly #issuer: SvidIssuer;
  readonly #watch: ChangeWatch;
  readonly #wakeup: Wakeup;
  readonly #backoff: Backoff;
  readonly #failing: Recurring;
  #isVersionTold = false;
  readonly #stopping: AbortController = new AbortController();
  #lastSyncSuccess = 0;
  /** Of the last time that everything was asked for. */
  #failure: Failure | undefined;

  /** @param roots the X.509 authorities to verify the server with, DER */
  constructor(parts: SynchronizerParts, svid: AgentSvid, roots: readonly Uint8Array[]) {
    const { address, cache, clock, random, metrics, log, syncIntervalSeconds } = parts;
    const { rotation, workloadKeyType: keyType } = parts;
    const { trustDomain } = address;
    const pauses = pausesAfterFailures(syncIntervalSeconds * 1000);
    const link = new ServerLink(parts, svid, roots);
    const tainted = new TaintedAuthorities();
    const onRevived = (): void => this.#wakeup.wake();
    const own = new OwnSvid({ ...parts, ...pauses, link, trustDomain, tainted, onRevived });
    const tools = {
      cache,
      clock,
      random,
      metrics,
      log,
      connection: () => link.connection,
      onFailure: own.settle.bind(own),
    };
    this.#parts = parts;
    this.#link = link;
    this.#own = own;
    this.#tainted = tainted;
    this.#updates = new CacheUpdates({
      ...tools,
      link,
      trustDomain,
      onOwnBundle: (bundle) => this.#replaceTainted(bundle),
      onMissed: () => this.wake(),
    });
    this.#issuer = new SvidIssuer({ ...tools, rotation, tainted, keyType });
    this.#watch = new ChangeWatch({
      ...tools,
      ...pauses,
      onChange: (change) => this.#follow(change),
      onLost: () => clock.after(pauses.firstPauseMs * random.fraction(), () => this.wake()),
    });
    this.#wakeup = new Wakeup(clock);
    this.#failing = new Recurring(log);
    this.#backoff = new Backoff(pauses.firstPauseMs, pauses.maxPauseMs, random);
  }

  /** Unix seconds of the last time that everything was fetched; 0 for never. */
  get lastSyncSuccess(): number {
    return this.#lastSyncSuccess;
  }

  /** The agent's own SVID, leaf first, and the X.509 authorities of its trust domain; all DER. */
  get identity(): { readonly chain: readonly Uint8Array[]; readonly roots: readonly Uint8Array[] } {
    return { chain: this.#link.svid.chain, roots: this.#link.roots };
  }

  /** Unix seconds: when the agent's own SVID is to be replaced. */
  get rotatesAt(): number {
    return this.#own.rotatesAt;
  }

  get clients(): ServerClients {
    return this.#link.clients;
  }

  get status(): SyncStatus {
    const { serverAddress, serverPort } = this.#parts.address;
    const { svid } = this.#link;
    const { dueAt: renewAt, failure } = this.#own;
    return {
      address: formatHostPort({ host: serverAddress, port: serverPort }),
      lastSyncSuccess: this.#lastSyncSuccess,
      tellsChanges: this.#watch.isLive,
      failure: this.#failure,
      own: { id: svid.id.toString(), expiresAt: svid.leaf.notAfter, renewAt, failure },
    };
  }

  /** How the X509-SVID for an entry comes along. */
  issuanceStatus(entry: WorkloadEntry): IssuanceStatus {
    return this.#issuer.issuanceStatus(entry);
  }

  /** Synchronises as soon as possible, whatever the interval; an SVID of the agent's own that could not be replaced is tried again. */
  wake(): void {
    this.#wakeup.wake();
    if (this.#own.failure !== undefined) this.#own.retry();
  }

  /** It is shown to operators, so a failure does not matter. */
  async #tellVersion(): Promise<void> {
    const { version: agentVersion } = this.#parts;
    this.#isVersionTold = true;
    try {
      await callUnary(
        this.clients.agent,
        "postStatus",
        { currentBundleSerial: 0, agentVersion },
        { timeoutMs: RPC_TIMEOUT_MS },
      );
    } catch (error) {
      this.#parts.log.debug("Could not post the agent's status", { error: errorText(error) });
    }
  }

  /**
   * Fetches all entries and our own bundle. SVIDs and federated bundles follow while `run` goes on.
   *
   * @throws StatusError, or AgentRefusedError when the server turned the agent away
   */
  async synchronize(): Promise<void> {
    const { connection } = this.#link;
    try {
      if (this.#own.isExpired) throw new Error("the agent's SVID has expired");
      await this.#updates.fetchAll();
      await this.#reached();
    } catch (error) {
      if (isUnknownAuthority(error) && (await this.#own.distrust())) {
        // What the authorities before these signed, nobody trusts any more.
        this.#parts.cache.expedite(() => true);
        return this.synchronize();
      }
      if (await this.#own.settle(error, connection)) return this.synchronize();
      throw await this.#isAway(error);
    }
  }

  /** @returns the failure, as it is told */
  async #isAway(error: unknown): Promise<unknown> {
    const { cache, clock, address } = this.#parts;
    cache.isServerAway = true;
    const explained = await explainClocks(error, address, clock);
    this.#failure = failureOf(explained, 0, clock);
    if (!this.#stopping.signal.aborted) {
      const reason = { error: errorText(explained) };
      this.#failing.failed("error", "Failed to sync with SPIRE Server", reason);
    }
    return explained;
  }

  /** Goes on until stopped. @throws AgentRefusedError */
  async run(): Promise<void> {
    const { signal } = this.#stopping;
    await Promise.all([
      this.#poll(signal),
      this.#watch.run(signal),
      this.#issuer.run(signal),
      this.#own.run(signal),
    ]);
  }

  stop(): void {
    this.#stopping.abort();
    this.#updates.stop();
    this.#link.close();
  }

  async #poll(stopping: AbortSignal): Promise<void> {
    let pauseMs = this.#parts.cache.isFilled ? this.#pauseMs() : 0;
    for (;;) {
      await this.#wakeup.wait(pauseMs, stopping);
      if (stopping.aborted) return;
      pauseMs = await this.#tryToSynchronize(stopping);
    }
  }

  /** @returns milliseconds until the next time. @throws AgentRefusedError */
  async #tryToSynchronize(stopping: AbortSignal): Promise<number> {
    try {
      await this.synchronize();
      return this.#pauseMs();
    } catch (error) {
      if (stopping.aborted) return 0;
      if (error instanceof AgentRefusedError) throw error;
      const pauseMs = this.#backoff.nextMs();
      this.#failure = failureOf(error, pauseMs, this.#parts.clock);
      return pauseMs;
    }
  }

  #pauseMs(): number {
    const { cache, random, syncIntervalSeconds } = this.#parts;
    const isTold = this.#watch.isLive;
    return pauseMs(syncIntervalSeconds * 1000, { isTold, isIdle: cache.svidCount === 0 }, random);
  }

  #follow(change: Change): void {
    if (change.everything) this.wake();
    else this.#updates.apply(change);
  }

  /** Whatever a tainted authority signed is replaced, and a token of a key that is tainted or gone is not handed out any more. */
  #replaceTainted(bundle: Bundle): void {
    const { cache, jwtSvids, metrics, log } = this.#parts;
    const good = bundle.jwtAuthorities.filter(({ tainted }) => !tainted);
    const dropped = jwtSvids.keepSignedBy(new Set(good.map(({ keyId }) => keyId)));
    this.#tellDropped(dropped, bundle);
    const news = this.#tainted.update(bundle);
    if (news === undefined) return;
    log.info("New tainted X.509 authorities found", { subject_key_ids: news.keyIds.join(",") });
    const count = cache.expedite(({ signatory }) => news.signed(signatory));
    metrics.sample([...TAINTED, "tainted_x509_svids", "workload"], count);
    log.info("Scheduled rotation for SVID entries due to tainted X.509 authorities", { count });
    this.#own.expedite(news.signed);
  }

  /** @param dropped how many JWT-SVIDs were forgotten, by the key that signed them */
  #tellDropped(dropped: ReadonlyMap<string, number>, { jwtAuthorities }: Bundle): void {
    const { metrics, log } = this.#parts;
    for (const [keyId, count] of dropped) {
      const isTainted = jwtAuthorities.some((one) => one.keyId === keyId && one.tainted);
      const why = isTainted ? "they were issued by a tainted authority" : "their authority is gone";
      log.info(`JWT-SVIDs were removed from the JWT cache because ${why}`, {
        jwt_authority_key_ids: keyId,
        tainted_jwt_svids: count,
      });
      metrics.sample([...TAINTED, "tainted_jwt_svids", "workload"], count);
    }
  }

  /** The server answered; if it was away, what had to wait for it goes on now. */
  async #reached(): Promise<void> {
    this.#backoff.reset();
    if (!this.#isVersionTold) void this.#tellVersion();
    const { cache, clock, bootstrap } = this.#parts;
    this.#lastSyncSuccess = clock.nowSeconds();
    this.#failure = undefined;
    if (this.#failing.over()) {
      this.#parts.log.info("Connected again", { address: this.status.address });
    }
    await bootstrap.agreed();
    this.#watch.reopen();
    if (!cache.isServerAway) return;
    cache.isServerAway = false;
    this.#issuer.retry();
    this.#own.retry();
    this.#watch.retry();
  }
}
