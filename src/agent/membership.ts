/**
 * The agent's place in its trust domain, over its whole life: recovered or joined for at the start, then kept by the synchroniser. A node
 * that joined once never gives up while the server is away.
 */
import { attestationKey, recoverSvid } from "#agent/attestation/agent-svid.ts";
import { Bootstrap } from "#agent/attestation/bootstrap.ts";
import { type Joined, joinServer } from "#agent/attestation/join.ts";
import { JoinFile } from "#agent/attestation/join-file.ts";
import { AgentRefusedError } from "#agent/attestation/refusal.ts";
import type { ServerClients } from "#agent/attestation/server-connection.ts";
import type { StoredState } from "#agent/attestation/stored-state.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { AgentConfig } from "#agent/config/config.ts";
import { rotationRule } from "#agent/own-svid/rotation.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import type { IssuanceStatus } from "#agent/sync/svid-issuer.ts";
import { Synchronizer, type SyncStatus } from "#agent/sync/synchronizer.ts";
import type { OpenNodeAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { Wakeup } from "#clock/wakeup.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { parseX509SvidChain } from "#x509/svid.ts";
import {
  FIRST_ATTESTATION,
  FIRST_ATTESTATION_REBOOTSTRAPPING,
  REATTESTATION,
  type RetryPolicy,
  retry,
} from "./start-retry.ts";
import { joiningText } from "./status.ts";

export interface MembershipParts {
  readonly config: AgentConfig;
  readonly keys: KeyManager;
  readonly state: StoredState;
  readonly cache: WorkloadCache;
  readonly jwtSvids: JwtSvids;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly openAttestor: OpenNodeAttestor;
  readonly log: Log;
  /** What the server is told. */
  readonly version: string;
  /** Changes what `systemctl status` shows until the agent serves. */
  readonly tell: (status: string) => void;
}

export class Membership {
  readonly #parts: MembershipParts;
  readonly #attestorLog: Log;
  readonly #bootstrap: Bootstrap;
  readonly #joinFile: JoinFile;
  readonly #wakeup: Wakeup;
  readonly #stopping: AbortController = new AbortController();
  readonly #firstRound: PromiseWithResolvers<void> = Promise.withResolvers();
  #synchronizer: Synchronizer | undefined;
  #onChange: () => void = () => {};
  #joinProblem = "";

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    this.#attestorLog = parts.log.with({ subsystem_name: "attestor" });
    this.#bootstrap = new Bootstrap({
      ...parts,
      log: this.#attestorLog,
      signal: this.#stopping.signal,
    });
    const { joinTokenFile, joinFile } = parts.config;
    this.#joinFile = new JoinFile(joinTokenFile ?? joinFile, parts.clock);
    this.#wakeup = new Wakeup(parts.clock);
  }

  /** @throws StatusError UNAVAILABLE while the agent waits to be let in again */
  get clients(): ServerClients {
    return this.#joined.clients;
  }

  /** @throws StatusError UNAVAILABLE while the agent waits to be let in again */
  get identity(): Synchronizer["identity"] {
    return this.#joined.identity;
  }

  /** Undefined while the agent waits to be let in again. */
  get status(): SyncStatus | undefined {
    return this.#synchronizer?.status;
  }

  /** Why the agent has not joined yet, by the last try; empty when it has, or has not tried. */
  get joinProblem(): string {
    return this.#joinProblem;
  }

  /** How the X509-SVID for an entry comes along; nothing is to be said while the agent waits to be let in again. */
  issuanceStatus(entry: WorkloadEntry): IssuanceStatus {
    return this.#synchronizer?.issuanceStatus(entry) ?? { isUnderWay: false };
  }

  /** Unix seconds of the last time that everything was fetched; 0 for never. */
  get lastSyncSuccess(): number {
    return this.#synchronizer?.lastSyncSuccess ?? 0;
  }

  /** Unix seconds: when the agent's own SVID is to be replaced; undefined while it has none. */
  get rotatesAt(): number | undefined {
    return this.#synchronizer?.rotatesAt;
  }

  /** Sets who is called when the agent has another SVID. */
  whenChanged(call: () => void): void {
    this.#onChange = call;
  }

  /** Asks the server for everything, or to be let in, as soon as possible. */
  wake(): void {
    this.#wakeup.wake();
    this.#synchronizer?.wake();
  }

  get #joined(): Synchronizer {
    if (this.#synchronizer !== undefined) return this.#synchronizer;
    throw new StatusError(StatusCode.UNAVAILABLE, "the agent has not joined its server yet");
  }

  /** Resolves when the server was asked for everything once, whatever came of it. */
  get firstRound(): Promise<void> {
    return this.#firstRound.promise;
  }

  /**
   * Takes up the identity of the last run, also one that has expired, or joins if there never was one.
   *
   * @throws Error when the node never joined, and cannot now; or when the configuration asks for more than it can do
   */
  async open(): Promise<void> {
    const { config, state, keys } = this.#parts;
    const { svid, bundle, reattestable } = state.current;
    const recovered = recoverSvid(svid, reattestable, keys);
    if (recovered !== undefined && bundle.length > 0) {
      this.#attestorLog.info("SVID loaded", { spiffe_id: recovered.id.toString() });
      this.#begin({ svid: recovered, roots: bundle });
    } else if (svid.length > 0) {
      this.#attestorLog.error("The agent's SVID has lost its key or its bundle; attesting anew", {
        spiffe_id: parseX509SvidChain(svid).id.toString(),
      });
    } else {
      this.#attestorLog.info("SVID is not found. Starting node attestation");
      // What the attestor lacks shows at once.
      await this.#parts.openAttestor();
      const once = config.rebootstrapMode === "never";
      this.#begin(await this.#join(once ? FIRST_ATTESTATION : FIRST_ATTESTATION_REBOOTSTRAPPING));
    }
  }

  /** Goes on until stopped. @throws Error when the server turned the agent away for good */
  async run(): Promise<void> {
    try {
      const synchronizer = this.#synchronizer ?? this.#begin(await this.#join(REATTESTATION));
      await this.#first(synchronizer);
      await synchronizer.run();
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    }
  }

  stop(): void {
    this.#stopping.abort();
    this.#synchronizer?.stop();
  }

  /** @param reason why the last try to join failed; empty before the first one */
  #waitsFor(reason: string): void {
    this.#joinProblem = reason;
    this.#parts.tell(joiningText(this.#parts.config, reason));
    this.#onChange();
  }

  async #join(policy: RetryPolicy): Promise<Joined> {
    const parts = {
      ...this.#parts,
      bootstrap: this.#bootstrap,
      log: this.#attestorLog,
      pause: (milliseconds: number, signal: AbortSignal) =>
        this.#joinFile.wait(this.#wakeup, milliseconds, signal),
      tell: (reason: string) => this.#waitsFor(reason),
    };
    this.#waitsFor("");
    const key = await attestationKey(parts.keys, parts.state.current.bundle.length === 0);
    return retry("attest", parts, policy, () => joinServer(parts, key), this.#stopping.signal);
  }

  /** @throws Error when the configuration asks for more than the node can do */
  #begin({ svid, roots }: Joined): Synchronizer {
    this.#joinProblem = "";
    this.#bootstrap.setReattestable(svid.reattestable);
    const { config, random, log, state } = this.#parts;
    this.#synchronizer = new Synchronizer(
      {
        ...this.#parts,
        bootstrap: this.#bootstrap,
        address: config,
        attestors: config.plugins.workloadAttestors.map(({ name }) => name),
        syncIntervalSeconds: config.syncIntervalSeconds,
        rotation: rotationRule(config, random),
        workloadKeyType: config.workloadX509SvidKeyType,
        joinFile: this.#joinFile,
        log: log.with({ subsystem_name: "manager" }),
        save: async (current, bundle) => {
          await state.update({
            svid: current?.chain ?? [],
            bundle,
            reattestable: current?.reattestable ?? false,
          });
          this.#onChange();
        },
      },
      svid,
      roots,
    );
    return this.#synchronizer;
  }

  async #first(synchronizer: Synchronizer): Promise<void> {
    try {
      await synchronizer.synchronize();
    } catch (error) {
      // Any other failure was told of, and is tried again.
      if (error instanceof AgentRefusedError || this.#stopping.signal.aborted) throw error;
    } finally {
      this.#firstRound.resolve();
    }
  }
}
