/**
 * Follows the bundle of the upstream: its new authorities become ours, its taints too, and what it revoked goes. This server leaves a tainted
 * root before it tells anybody of the taint, so that whoever comes for something new gets it from below a sound one.
 */
import { isDeepStrictEqual } from "node:util";
import { keyAuthorityOf, type X509Ca, x509AuthorityIds } from "#server/ca/authority/authority.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import type { Authorities } from "#server/ca/lifecycle/authorities.ts";
import type { Bundle, X509Authority } from "#spiffe/bundle.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { UpstreamBundle } from "#upstream/upstream-authority.ts";
import { Certificate } from "#x509/certificate.ts";
import { leadsTo } from "#x509/leads-to.ts";
import { newlyTainted, withUpstream, withVanished } from "./upstream-bundle.ts";

/** As the reference. */
const LOOK_INTERVAL_MS = 5000;

export class UpstreamFollower {
  readonly #parts: CaManagerParts;
  readonly #authorities: Authorities;
  readonly #stopping: AbortController = new AbortController();
  #ended: Promise<void> = Promise.resolve();
  /** What was taken over last. */
  #known: UpstreamBundle | undefined;
  /** The last problem that was logged: an upstream that stays away makes one line, not one every few seconds. */
  #problem: string | undefined;

  constructor(parts: CaManagerParts, authorities: Authorities) {
    this.#parts = parts;
    this.#authorities = authorities;
  }

  /** Follows from now on. Does nothing where the upstream has no bundle of its own. */
  start(): void {
    const fetchBundle = this.#parts.upstream?.fetchBundle?.bind(this.#parts.upstream);
    if (fetchBundle !== undefined) this.#ended = this.#run(fetchBundle);
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  async #run(fetchBundle: () => Promise<UpstreamBundle>): Promise<void> {
    const { clock, log } = this.#parts;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#take(await fetchBundle());
        if (this.#problem !== undefined) log.info("Following the upstream bundle again");
        this.#problem = undefined;
      } catch (error) {
        const problem = errorText(error);
        if (problem !== this.#problem && !signal.aborted)
          log.warn("Failed to follow the upstream bundle", { error: problem });
        this.#problem = problem;
      }
      await clock.sleep(LOOK_INTERVAL_MS, signal);
    }
  }

  /** What fails here is tried again at the next look. */
  async #take(fetched: UpstreamBundle): Promise<void> {
    if (isDeepStrictEqual(fetched, this.#known)) return;
    const upstream = withVanished(fetched, this.#known);
    const { bundles, trustDomain } = this.#parts;
    const ours = await bundles.find(trustDomain.name);
    if (ours !== undefined) await this.#leave(newlyTainted(ours, upstream));
    let before: Bundle | undefined;
    const after = await bundles.update(trustDomain.name, (bundle) => {
      before = bundle;
      return withUpstream(bundle, upstream, (keyId) => this.#authorities.madeJwtKey(keyId));
    });
    if (before !== undefined) this.#logChanges(before, after);
    await this.#publishMissing(upstream);
    this.#known = upstream;
  }

  /** Has the CA that signs, and the next one, below none of these roots. */
  async #leave(tainted: readonly Uint8Array[]): Promise<void> {
    if (tainted.length === 0) return;
    const { log } = this.#parts;
    const { x509 } = this.#authorities;
    const isBelow = ({ certificate, chain }: X509Ca): boolean =>
      leadsTo(
        chain.length > 0 ? chain : [certificate.der],
        tainted,
        this.#parts.clock.nowSeconds(),
      );
    if (x509.state.active !== undefined && isBelow(x509.state.active)) {
      log.info("Current root CA is signed by a tainted upstream authority, preparing rotation");
    }
    await x509.prepareUnless((newest) => !isBelow(newest));
    const { active, prepared } = x509.state;
    if (active === undefined || prepared === undefined || !isBelow(active)) return;
    await x509.activate(prepared);
  }

  /** Keys that the upstream never heard of, as after a change of upstreams, or has lost. */
  async #publishMissing({ jwtAuthorities }: UpstreamBundle): Promise<void> {
    const { active, prepared } = this.#authorities.jwt.state;
    for (const key of [active, prepared]) {
      if (key === undefined || jwtAuthorities.some(({ keyId }) => keyId === key.authorityId))
        continue;
      await this.#authorities.publisher.publish(keyAuthorityOf(key));
    }
  }

  #logChanges(before: Bundle, after: Bundle): void {
    const { log } = this.#parts;
    const find = ({ x509Authorities }: Bundle, wanted: X509Authority): X509Authority | undefined =>
      x509Authorities.find(
        ({ certificate }) => Buffer.compare(certificate, wanted.certificate) === 0,
      );
    for (const authority of before.x509Authorities) {
      const { authorityId } = x509AuthorityIds(Certificate.parse(authority.certificate));
      const now = find(after, authority);
      const fields = { subject_key_id: authorityId };
      if (now === undefined) log.info("X.509 authority revoked", fields);
      else if (now.tainted && !authority.tainted) log.info("X.509 authority tainted", fields);
    }
  }
}
