/** Who may ask for identities on behalf of workloads: a caller that itself has one of the identities that the operator named. */
import { type AttestedCaller, attestCaller, type CallerTools } from "#agent/attestation/caller.ts";
import { attestationIncomplete } from "#agent/attestation/workload-attestation.ts";
import type { Identity } from "#agent/cache/subscription.ts";
import { checkOpen, SERVER_AWAY, unavailable } from "#agent/cache/waiting.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { CallContext } from "#grpc/bind.ts";
import { BoundedLog } from "#log/bounded-log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface DelegatesParts extends CallerTools {
  readonly cache: WorkloadCache;
  /** SPIFFE IDs, as the configuration has them at this moment. */
  readonly authorizedDelegates: () => readonly string[];
}

export class Delegates {
  readonly #parts: DelegatesParts;
  readonly #bounded: BoundedLog;

  constructor(parts: DelegatesParts) {
    this.#parts = parts;
    this.#bounded = new BoundedLog(parts);
  }

  /** @throws StatusError when the caller is no delegate */
  async attest(context: CallContext): Promise<AttestedCaller> {
    const caller = await attestCaller(this.#parts, context);
    this.check(caller, this.#parts.cache.identitiesFor(caller.selectors));
    return caller;
  }

  /**
   * To be asked again before anything more is sent: entries change, and processes end.
   *
   * @throws StatusError PERMISSION_DENIED when the caller is no delegate, or no more; UNAVAILABLE when that cannot be said now
   */
  check({ peer, silent }: AttestedCaller, identities: readonly Identity[]): void {
    const { authorizedDelegates, cache } = this.#parts;
    checkOpen(cache);
    // The process may have ended while its socket lives on in another.
    const ids = peer.isAlive() ? identities.map(({ entry }) => entry.spiffeId.toString()) : [];
    if (authorizedDelegates().some((id) => ids.includes(id))) return;
    if (peer.isAlive() && !cache.isFilled) throw unavailable(SERVER_AWAY);
    if (peer.isAlive() && silent.length > 0) throw attestationIncomplete({ silent });
    const log = this.#bounded.from(`uid ${peer.uid}`, { pid: peer.pid, uid: peer.uid });
    if (ids.length === 0) {
      log.warn("No identity issued");
      throw new StatusError(StatusCode.PERMISSION_DENIED, "no identity issued");
    }
    const why = "caller not configured as an authorized delegate";
    log.warn(`Permission denied; ${why}`, { default_id: ids[0] });
    throw new StatusError(StatusCode.PERMISSION_DENIED, why);
  }
}
