/**
 * How the agent came to know its server, and since when the two do not agree. It tells the source of the trust bundle what it asks for,
 * and says when the bundle that is stored has to give way to a new one (rebootstrapping). Survives restarts in agent-data.json.
 */

import type { Clock } from "#clock/clock.ts";
import { formatDuration } from "#config/duration.ts";
import type { Log } from "#log/log.ts";
import { isoTime } from "#x509/iso-time.ts";
import type { BootstrapMode, StoredState } from "./stored-state.ts";
import { type BundleSource, fetchTrustBundle } from "./trust-bundle.ts";

export interface BootstrapParts {
  readonly config: BundleSource;
  readonly state: StoredState;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends what is under way when the agent stops. */
  readonly signal: AbortSignal;
}

const UNSUPPORTED =
  "you have requested rebootstrap support but the NodeAttestor plugin or the spire server configuration is not allowing it";

export class Bootstrap {
  readonly #parts: BootstrapParts;
  #isRepeatable: boolean;
  /** The bundle that is stored is not believed any more. */
  #isReplacing = false;

  constructor(parts: BootstrapParts) {
    this.#parts = parts;
    this.#isRepeatable = parts.config.rebootstrapMode !== "never";
  }

  get #mode(): BootstrapMode {
    const { bootstrapMode, bundle } = this.#parts.state.current;
    return bootstrapMode ?? (bundle.length > 0 ? "rebootstrap" : "bootstrap");
  }

  /**
   * Told what the server said of the node when it attested.
   *
   * @throws Error when the configuration insists on what the node cannot do
   */
  setReattestable(reattestable: boolean): void {
    if (reattestable || !this.#isRepeatable) return;
    if (this.#parts.config.rebootstrapMode === "always") throw new Error(UNSUPPORTED);
    this.#parts.log.warn(`${UNSUPPORTED}. Disabling`);
    this.#isRepeatable = false;
  }

  /** The X.509 authorities, DER: those stored, or else from the configured source. @throws Error or StatusError */
  async bundle(): Promise<readonly Uint8Array[]> {
    const { config, state, clock, log, signal } = this.#parts;
    const { bundle, bootstrapStart, connectionAttempts } = state.current;
    if (bundle.length > 0 && !this.#isReplacing) return bundle;
    const mode = this.#mode;
    const start = bootstrapStart || clock.nowSeconds();
    const attempt = connectionAttempts + 1;
    await state.update({
      bootstrapMode: mode,
      bootstrapStart: start,
      connectionAttempts: attempt,
    });
    log.info("Asking for the trust bundle", { mode, attempt, since: isoTime(start) });
    return fetchTrustBundle(config, { mode, attempt, start }, { log, clock, signal });
  }

  /** Agent and server understand each other. */
  async agreed(): Promise<void> {
    const { state } = this.#parts;
    this.#isReplacing = false;
    const { bootstrapMode, bootstrapStart, connectionAttempts } = state.current;
    if (bootstrapMode === "rebootstrap" && bootstrapStart === 0 && connectionAttempts === 0) return;
    await state.update({
      bootstrapMode: "rebootstrap",
      bootstrapStart: 0,
      connectionAttempts: 0,
    });
  }

  /** The server's certificate does not verify. @returns whether it is time to attest with a new bundle, which `bundle` gives then */
  async disagreed(): Promise<boolean> {
    const { config, state, clock, log } = this.#parts;
    if (this.#mode === "bootstrap") {
      log.info("Trust Bundle and Server don't agree, bootstrapping again");
      this.#isReplacing = true;
      return true;
    }
    if (!this.#isRepeatable) return false;
    const start = state.current.bootstrapStart || clock.nowSeconds();
    if (state.current.bootstrapStart === 0) {
      await state.update({ bootstrapMode: "rebootstrap", bootstrapStart: start });
    }
    const left = start + config.rebootstrapDelaySeconds - clock.nowSeconds();
    if (left > 0) {
      log.info("Trust Bundle and Server don't agree, ignoring for now", {
        time_left: formatDuration(left),
      });
      return false;
    }
    log.warn("Trust Bundle and Server don't agree, rebootstrapping");
    this.#isReplacing = true;
    return true;
  }
}
