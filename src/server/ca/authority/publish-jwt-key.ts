/** Keys for JWT-SVIDs, made known: to the upstream and so to the whole trust domain, or in the bundle of this server alone. */
import { type Bundle, checkKeyId, emptyBundle, type JwtAuthority } from "#spiffe/bundle.ts";
import type { CaManagerParts } from "./parts.ts";

export class JwtKeyPublisher {
  readonly #parts: CaManagerParts;
  readonly #isOwn: (keyId: string) => boolean;
  #isWarned = false;

  /** @param isOwn whether this server made the key itself, some time; where it is not in the bundle any more, it was revoked */
  constructor(parts: CaManagerParts, isOwn: (keyId: string) => boolean) {
    this.#parts = parts;
    this.#isOwn = isOwn;
  }

  /**
   * Publishes a key of this server, or of one below it.
   *
   * @returns the bundle with the key in it
   * @throws StatusError when the upstream does not take it, ALREADY_EXISTS when its ID belongs to another key; it is in no bundle then
   */
  async publish(key: JwtAuthority): Promise<Bundle> {
    const { upstream, bundles, trustDomain } = this.#parts;
    if (upstream !== undefined && upstream.publishJwtKey === undefined) this.#warn(upstream.name);
    checkKeyId(key, (await bundles.find(trustDomain.name))?.jwtAuthorities ?? []);
    const known = (await upstream?.publishJwtKey?.(key)) ?? [];
    const others = known.filter(({ keyId }) => keyId !== key.keyId && !this.#isOwn(keyId));
    const jwtAuthorities = [key, ...others];
    const bundle = await bundles.append({ ...emptyBundle(trustDomain), jwtAuthorities });
    // Another may have come first meanwhile; what is in the bundle stays.
    checkKeyId(key, bundle.jwtAuthorities);
    return bundle;
  }

  #warn(name: string): void {
    if (this.#isWarned) return;
    this.#isWarned = true;
    this.#parts.log.warn(
      "The upstream authority takes no JWT keys; workloads elsewhere in the trust domain cannot verify JWT-SVIDs of this server",
      { plugin_name: name },
    );
  }
}
