/** JWT-SVIDs, fetched when a workload asks and kept for as long as they are fresh. A token is a secret: it is never logged. */
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { failureText } from "#cli/rpc-error.ts";
import type { Clock } from "#clock/clock.ts";
import { callUnary } from "#grpc/client.ts";
import { parseJwtSvidUnverified } from "#jwt/claims.ts";
import type { SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

const TIMEOUT_MS = 30_000;

export interface JwtSvid {
  readonly token: string;
  /** The ID of the key that signed it. */
  readonly keyId: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** A JWT-SVID in the cache, for whoever asks what there is. */
export interface KeptJwtSvid {
  readonly audience: readonly string[];
  /** Unix seconds. */
  readonly expiresAt: number;
}

export class JwtSvids {
  readonly #clock: Clock;
  readonly #maxSize: number;
  readonly #hitTimeoutMs: number;
  /** In the order of use, so that the first is the one to forget. */
  readonly #cache: Map<string, JwtSvid> = new Map();
  readonly #fetching: Map<string, Promise<JwtSvid>> = new Map();

  /** @param hitTimeoutMs how long the server may take to make a new token while the old one is still good */
  constructor(clock: Clock, maxSize: number, hitTimeoutMs: number = TIMEOUT_MS) {
    this.#clock = clock;
    this.#maxSize = maxSize;
    this.#hitTimeoutMs = hitTimeoutMs;
  }

  /** Forgets tokens that other keys signed than those. @returns how many, by the ID of the key */
  keepSignedBy(keyIds: ReadonlySet<string>): ReadonlyMap<string, number> {
    const dropped = new Map<string, number>();
    for (const [key, { keyId }] of this.#cache) {
      if (keyIds.has(keyId)) continue;
      this.#cache.delete(key);
      dropped.set(keyId, (dropped.get(keyId) ?? 0) + 1);
    }
    return dropped;
  }

  /** How many are kept. */
  get size(): number {
    return this.#cache.size;
  }

  /** What is kept for the entry, without the tokens. */
  of({ id, svidKey }: WorkloadEntry): readonly KeptJwtSvid[] {
    return [...this.#cache].flatMap(([key, { expiresAt }]) => {
      const [entryId, ofKey, audience] = JSON.parse(key) as [string, string, string[]];
      return entryId === id && ofKey === svidKey ? [{ audience, expiresAt }] : [];
    });
  }

  /**
   * A token for the entry and the audiences: from the cache until half of its life is over, then a new one; while the server is away the
   * old one until it expires. One with an ID of its own is never handed out twice.
   *
   * @throws StatusError UNAVAILABLE
   */
  async svid(
    client: SVIDClient,
    entry: WorkloadEntry,
    audience: readonly string[],
  ): Promise<JwtSvid> {
    if (entry.jwtSvidsOnce) return this.#fetch(client, entry, audience).catch(unavailable);
    const key = JSON.stringify([entry.id, entry.svidKey, [...audience].sort()]);
    const now = this.#clock.nowSeconds();
    const cached = this.#cache.get(key);
    if (cached !== undefined && now < cached.issuedAt + (cached.expiresAt - cached.issuedAt) / 2) {
      this.#remember(key, cached);
      return cached;
    }
    const isGood = cached !== undefined && now < cached.expiresAt;
    const timeoutMs = isGood ? this.#hitTimeoutMs : TIMEOUT_MS;
    try {
      return await this.#fetchOnce(key, client, entry, audience, timeoutMs);
    } catch (error) {
      if (isGood) return cached;
      return unavailable(error);
    }
  }

  /** Callers who want the same token at the same time wait for one call. */
  #fetchOnce(
    key: string,
    client: SVIDClient,
    entry: WorkloadEntry,
    audience: readonly string[],
    timeoutMs: number,
  ): Promise<JwtSvid> {
    const under = this.#fetching.get(key);
    if (under !== undefined) return under;
    const fetching = this.#fetch(client, entry, audience, timeoutMs)
      .then((token) => {
        this.#remember(key, token);
        return token;
      })
      .finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, fetching);
    return fetching;
  }

  async #fetch(
    client: SVIDClient,
    entry: WorkloadEntry,
    audience: readonly string[],
    timeoutMs = TIMEOUT_MS,
  ): Promise<JwtSvid> {
    const request = { entryId: entry.id, audience: [...audience] };
    const { svid } = await callUnary(client, "newJwtsvid", request, { timeoutMs });
    if (svid === undefined)
      throw new StatusError(StatusCode.INTERNAL, "the server sent no JWT-SVID");
    const { token, issuedAt, expiresAt } = svid;
    return { token, keyId: parseJwtSvidUnverified(token).keyId, issuedAt, expiresAt };
  }

  #remember(key: string, token: JwtSvid): void {
    this.#cache.delete(key);
    this.#cache.set(key, token);
    const [oldest] = this.#cache.keys();
    if (this.#cache.size > this.#maxSize && oldest !== undefined) this.#cache.delete(oldest);
  }
}

function unavailable(cause: unknown): never {
  const message = `could not fetch JWT-SVID: ${failureText(cause)}`;
  throw new StatusError(StatusCode.UNAVAILABLE, message, { cause });
}
