/**
 * The trust bundles this agent hands out: its own trust domain's, and those its entries federate with. Each is fetched by itself, so
 * that one that hangs holds up nothing else.
 */
import { Backoff } from "#clock/backoff.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { callUnary } from "#grpc/client.ts";
import type { Log } from "#log/log.ts";
import type { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import type { Bundle as BundleMessage } from "#proto/spire/api/types/bundle.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { splitCertificates } from "#x509/der.ts";

const TIMEOUT_MS = 30_000;
/** Calls at a time: a server lets a connection have a hundred of them or more, and others need some. */
const CONCURRENCY = 50;
const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 240_000;

/** Our own bundle. @throws StatusError */
export async function fetchOwnBundle(
  client: BundleClient,
  trustDomain: TrustDomain,
): Promise<Bundle> {
  const request = { outputMask: undefined };
  const message = await callUnary(client, "getBundle", request, { timeoutMs: TIMEOUT_MS });
  return bundleNamed(message, trustDomain.name);
}

export interface FederatedBundlesParts {
  readonly client: () => BundleClient;
  /** A bundle arrived, or undefined: there is none of that name. */
  readonly onBundle: (trustDomain: string, bundle: Bundle | undefined) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface Wanted {
  readonly backoff: Backoff;
  /** A fetch is waiting for its turn. */
  isQueued: boolean;
  isUnderWay: boolean;
}

export class FederatedBundles {
  readonly #parts: FederatedBundlesParts;
  readonly #wanted: Map<string, Wanted> = new Map();
  readonly #queue: string[] = [];
  #underWay = 0;
  #isStopped = false;

  constructor(parts: FederatedBundlesParts) {
    this.#parts = parts;
  }

  /** Sets which bundles there are to be; those that are new are fetched, and `onBundle` hears which are not wanted any more. */
  want(names: ReadonlySet<string>): void {
    for (const name of this.#wanted.keys()) {
      if (names.has(name)) continue;
      this.#wanted.delete(name);
      this.#parts.onBundle(name, undefined);
    }
    for (const name of names) {
      if (this.#wanted.has(name)) continue;
      const backoff = new Backoff(FIRST_PAUSE_MS, MAX_PAUSE_MS, this.#parts.random);
      this.#wanted.set(name, { backoff, isQueued: false, isUnderWay: false });
      this.refresh([name]);
    }
  }

  /** Fetches those of the bundles that are wanted, again; without names all of them. Does not wait. */
  refresh(names: Iterable<string> = this.#wanted.keys()): void {
    for (const name of names) {
      const wanted = this.#wanted.get(name);
      if (wanted === undefined || wanted.isQueued) continue;
      wanted.isQueued = true;
      this.#queue.push(name);
    }
    this.#startSome();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #startSome(): void {
    for (let left = this.#queue.length; left > 0 && this.#underWay < CONCURRENCY; left--) {
      const name = this.#queue.shift() ?? "";
      const wanted = this.#wanted.get(name);
      if (wanted === undefined || this.#isStopped) continue;
      // It changed while it was being fetched: once more after that, so that the older answer does not come last.
      if (wanted.isUnderWay) this.#queue.push(name);
      else void this.#fetch(name, wanted);
    }
  }

  async #fetch(name: string, wanted: Wanted): Promise<void> {
    wanted.isQueued = false;
    wanted.isUnderWay = true;
    this.#underWay++;
    try {
      const bundle = await this.#fetchOne(name);
      wanted.backoff.reset();
      if (this.#wanted.get(name) === wanted) this.#parts.onBundle(name, bundle);
    } catch (error) {
      this.#parts.log.warn("Federated bundle could not be fetched", {
        trust_domain_id: name,
        error,
      });
      this.#parts.clock.after(wanted.backoff.nextMs(), () => this.refresh([name]));
    } finally {
      wanted.isUnderWay = false;
      this.#underWay--;
      this.#startSome();
    }
  }

  /** @returns undefined when the server has none. @throws StatusError */
  async #fetchOne(name: string): Promise<Bundle | undefined> {
    const request = { trustDomain: name, outputMask: undefined };
    try {
      const client = this.#parts.client();
      const settings = { timeoutMs: TIMEOUT_MS };
      return bundleNamed(await callUnary(client, "getFederatedBundle", request, settings), name);
    } catch (error) {
      if (!(error instanceof StatusError) || error.code !== StatusCode.NOT_FOUND) throw error;
      this.#parts.log.warn("Federated bundle not found", { trust_domain_id: name });
      return undefined;
    }
  }
}

/** @throws Error when it is the bundle of another trust domain than the one asked for */
function bundleNamed(message: BundleMessage, name: string): Bundle {
  const bundle = bundleOf(message);
  if (bundle.trustDomain.name === name) return bundle;
  throw new Error(`the server sent the bundle of "${bundle.trustDomain}" for "${name}"`);
}

/** @throws Error when the message is no bundle */
export function bundleOf(message: BundleMessage): Bundle {
  return {
    trustDomain: TrustDomain.parse(message.trustDomain),
    x509Authorities: message.x509Authorities.flatMap(({ asn1, tainted }) =>
      splitCertificates(asn1).map((certificate) => ({ certificate, tainted })),
    ),
    jwtAuthorities: message.jwtAuthorities.map(({ keyId, publicKey, expiresAt, tainted }) => ({
      keyId,
      publicKey,
      expiresAt,
      tainted,
    })),
    // Workloads get no WIT-SVIDs from an agent, so it needs none of their keys.
    witAuthorities: [],
    refreshHint: message.refreshHint,
    sequenceNumber: message.sequenceNumber,
  };
}
