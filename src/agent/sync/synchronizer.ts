/**
 * Keeps the cache true: entries and bundles from the server every few seconds, SVIDs issued as soon as an entry wants one and replaced at
 * half of their life, the agent's own SVID renewed alike. Ends for good only when the server says that this agent is no more.
 */
import {
  type AgentSvid,
  identityOf,
  isRenewalDue,
  renewSvid,
} from "#agent/attestation/agent-svid.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { callUnary } from "#grpc/client.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import { errorText, StatusError } from "#spiffe/status-error.ts";
import type { KeyType } from "#x509/signer.ts";
import { fetchFederatedBundles, fetchOwnBundle } from "./fetch-bundles.ts";
import { fetchEntries } from "./fetch-entries.ts";
import { issueSvids } from "./issue-svids.ts";
import { connectServer, type ServerAddress, type ServerClients } from "./server-connection.ts";
import type { WorkloadCache } from "./workload-cache.ts";

/** How often due SVIDs are looked for between synchronisations. */
const TICK_MS = 500;
const MAX_BACKOFF_FACTOR = 48;
const MAX_BACKOFF_SECONDS = 480;
const BACKOFF_GROWTH = 1.5;
const BACKOFF_JITTER = 0.1;
const RPC_TIMEOUT_MS = 30_000;

export interface SynchronizerParts {
  readonly address: ServerAddress;
  readonly syncIntervalSeconds: number;
  readonly workloadKeyType: KeyType;
  readonly keys: KeyManager;
  readonly cache: WorkloadCache;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Writes down SVID and bundle whenever one of them changed. */
  readonly save: (svid: AgentSvid | undefined, bundle: readonly Uint8Array[]) => Promise<void>;
}

/** The server no longer knows this agent; it has to join anew. */
export class AgentRefusedError extends Error {
  override readonly name: string = "AgentRefusedError";
}

export class Synchronizer {
  readonly #parts: SynchronizerParts;
  #svid: AgentSvid;
  #roots: readonly Uint8Array[];
  #clients: ServerClients;
  readonly #stopping: AbortController = new AbortController();

  constructor(parts: SynchronizerParts, svid: AgentSvid, roots: readonly Uint8Array[]) {
    this.#parts = parts;
    this.#svid = svid;
    this.#roots = roots;
    this.#clients = this.#connect();
  }

  get clients(): ServerClients {
    return this.#clients;
  }

  /** Tells the server which version runs here; it is shown to operators, so a failure does not matter. */
  async postStatus(agentVersion: string): Promise<void> {
    try {
      await callUnary(
        this.#clients.agent,
        "postStatus",
        { currentBundleSerial: 0, agentVersion },
        { timeoutMs: RPC_TIMEOUT_MS },
      );
    } catch (error) {
      this.#parts.log.debug("Could not post the agent's status", { error: errorText(error) });
    }
  }

  /** One round: renewal, entries, bundles, SVIDs. @throws StatusError, or AgentRefusedError when the server turned the agent away */
  async synchronize(): Promise<void> {
    try {
      await this.#renewIfDue();
      const { cache, log } = this.#parts;
      const [entries, own] = await Promise.all([
        fetchEntries(this.#clients.entry, cache.entries),
        fetchOwnBundle(this.#clients.bundle),
      ]);
      const wanted = new Set([...entries.values()].flatMap((entry) => entry.federatesWith));
      wanted.delete(own.trustDomain.name);
      cache.setEntries(entries);
      await this.#takeRoots(own.x509Authorities.map(({ certificate }) => certificate));
      cache.setBundles(new Map([...cache.bundles, [own.trustDomain.name, own]]));
      const federated = fetchFederatedBundles(this.#clients.bundle, wanted, log).then((found) => {
        const kept = [...cache.bundles].filter(([name]) => wanted.has(name));
        cache.setBundles(new Map([...kept, ...found, [own.trustDomain.name, own]]));
      });
      await Promise.all([federated, this.issueDue()]);
    } catch (error) {
      throw await this.#explained(error);
    }
  }

  /** Gets SVIDs for the entries that want one. @throws StatusError */
  async issueDue(): Promise<void> {
    const { cache, clock, random, log, workloadKeyType: keyType } = this.#parts;
    const due = cache.dueForIssue(clock.nowSeconds());
    if (due.length === 0) return;
    log.debug("Renewing X509-SVIDs", { count: due.length });
    await issueSvids({ client: this.#clients.svid, keyType, clock, random, log }, due, (svids) =>
      cache.setSvids(svids),
    );
  }

  /** Goes on until stopped. @throws AgentRefusedError */
  async run(): Promise<void> {
    const { clock, cache, syncIntervalSeconds } = this.#parts;
    const { signal } = this.#stopping;
    const tickMs = Math.min(TICK_MS, syncIntervalSeconds * 1000);
    let failures = 0;
    let pauseEnds = clock.monotonicMs() + this.#pauseSeconds(0) * 1000;
    for (;;) {
      await clock.sleep(tickMs, signal);
      if (signal.aborted) return;
      cache.dropExpired(clock.nowSeconds());
      const syncing = clock.monotonicMs() >= pauseEnds;
      // While the server is away nothing is asked of it before the pause is over.
      if (!syncing && failures > 0) continue;
      const worked = await this.#try(() => (syncing ? this.synchronize() : this.issueDue()));
      failures = worked ? 0 : failures + 1;
      if (syncing || !worked) pauseEnds = clock.monotonicMs() + this.#pauseSeconds(failures) * 1000;
    }
  }

  /** @throws AgentRefusedError; other failures are logged */
  async #try(step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (error) {
      if (error instanceof AgentRefusedError) throw error;
      if (!this.#stopping.signal.aborted) {
        this.#parts.log.error("Failed to sync with SPIRE Server", { error: errorText(error) });
      }
      return false;
    }
  }

  stop(): void {
    this.#stopping.abort();
    this.#clients.close();
  }

  /** The interval, or after failures a growing multiple of it with some jitter, so that a fleet does not come back as one. */
  #pauseSeconds(failures: number): number {
    const { syncIntervalSeconds: interval, random } = this.#parts;
    const most = Math.min(MAX_BACKOFF_FACTOR * interval, MAX_BACKOFF_SECONDS);
    const grown = Math.min(interval * BACKOFF_GROWTH ** failures, most);
    return failures === 0 ? interval : grown * (1 + BACKOFF_JITTER * (2 * random.fraction() - 1));
  }

  async #renewIfDue(): Promise<void> {
    const { clock, keys, address, log } = this.#parts;
    if (!isRenewalDue(this.#svid, clock)) return;
    const renewed = await renewSvid(this.#clients, this.#svid, keys, address.trustDomain);
    await this.#parts.save(renewed, this.#roots);
    this.#svid = renewed;
    this.#reconnect();
    log.info("Successfully rotated agent SVID", { expiration: renewed.leaf.notAfter });
  }

  async #takeRoots(roots: readonly Uint8Array[]): Promise<void> {
    const same =
      roots.length === this.#roots.length &&
      roots.every((root) => this.#roots.some((known) => Buffer.compare(known, root) === 0));
    if (same || roots.length === 0) return;
    await this.#parts.save(this.#svid, roots);
    this.#roots = roots;
    this.#reconnect();
  }

  #connect(): ServerClients {
    return connectServer(
      this.#parts.address,
      this.#roots,
      identityOf(this.#svid),
      this.#parts.clock,
    );
  }

  /** Calls under way on the old connection end by themselves. */
  #reconnect(): void {
    const old = this.#clients;
    this.#clients = this.#connect();
    old.close();
  }

  /** An agent that was banned, evicted or forgotten throws its SVID away: it would only be refused again. */
  async #explained(error: unknown): Promise<unknown> {
    const reason = error instanceof StatusError ? error.reason : undefined;
    if (reason === undefined) return error;
    await this.#parts.save(undefined, this.#roots);
    const what = reason === "AGENT_BANNED" ? "Agent is banned" : "Agent needs to attest again";
    return new AgentRefusedError(
      `${what}: removing its SVID and shutting down (${errorText(error)})`,
    );
  }
}
