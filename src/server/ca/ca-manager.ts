/**
 * CA Manager: the signing authorities of this server and everything they sign. It never signs with an authority that is not in the stored
 * bundle and journal. Called by the API, and by the server for its own SVID.
 */
import type { KeyObject } from "node:crypto";
import type { TokenKey, X509Ca } from "#server/ca/authority/authority.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import { allowsCaBelow } from "#server/ca/authority/path-length.ts";
import { Authorities } from "#server/ca/lifecycle/authorities.ts";
import { checkSvid } from "#server/ca/profile/lint.ts";
import {
  caSubjectDer,
  NOT_BEFORE_CUSHION_SECONDS,
  svidSubjectDer,
} from "#server/ca/profile/profile.ts";
import {
  issueDownstreamCa,
  issueJwtSvid,
  issueWitSvid,
  issueX509Svid,
  type TokenSvid,
  type X509Svid,
} from "#server/ca/signing/issue.ts";
import { UpstreamFollower } from "#server/ca/upstream/follow-upstream.ts";
import type { Bundle, JwtAuthority } from "#spiffe/bundle.ts";
import { serverId } from "#spiffe/reserved-id.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export type { TokenSvid, X509Svid };

/** As the reference, which has no key for it either. */
const DEFAULT_WIT_SVID_TTL_SECONDS = 3600;

export interface X509SvidFields {
  readonly id: SpiffeId;
  /** DER; its signature as a request is the caller's to have checked. */
  readonly publicKeySpki: Uint8Array;
  readonly publicKey?: KeyObject;
  /** Seconds; 0, less or absent means the default. */
  readonly ttlSeconds?: number;
  readonly dnsNames?: readonly string[];
  /** Name, DER; absent or empty means the default. */
  readonly subjectDer?: Uint8Array;
}

export interface CaState {
  /** When another CA takes over. */
  readonly rotatesAt: number;
  /** When the one that signs ends. */
  readonly expiresAt: number;
  /** Absent for a server that is its own root. */
  readonly upstream: { readonly name: string; readonly problem: string | undefined } | undefined;
}

export class CaManager {
  /** The authorities themselves, for those who rotate them by hand. */
  readonly authorities: Authorities;
  readonly #parts: CaManagerParts;
  readonly #upstream: UpstreamFollower;

  private constructor(parts: CaManagerParts, authorities: Authorities) {
    this.#parts = parts;
    this.authorities = authorities;
    this.#upstream = new UpstreamFollower(parts, authorities);
  }

  /** Recovers the authorities of the last run, or makes new ones. @throws Error or StatusError when it cannot */
  static async open(parts: CaManagerParts): Promise<CaManager> {
    return new CaManager(parts, await Authorities.open(parts));
  }

  /** What an operator is shown of it; times are Unix seconds. */
  get state(): CaState {
    const { x509 } = this.authorities;
    const { upstream } = this.#parts;
    return {
      rotatesAt: Math.floor(x509.rotatesAt),
      expiresAt: x509.state.active?.notAfter ?? 0,
      upstream: upstream && { name: upstream.name, problem: upstream.problem },
    };
  }

  /** Sets who is called when what `state` says of CA or upstream changed. */
  whenChanged(call: () => void): void {
    this.authorities.whenChanged(call);
    void this.live.then(call);
  }

  /** Does now what is due, and looks at the upstream. What fails is logged, and tried again as usual. */
  lookNow(): Promise<void> {
    return this.authorities.lookNow();
  }

  /** From now on rotates by itself, and follows the upstream's bundle. */
  start(): void {
    this.authorities.start();
    this.#upstream.start();
  }

  /** Resolves when no rotation is under way any more. */
  async stop(): Promise<void> {
    await Promise.all([this.authorities.stop(), this.#upstream.stop()]);
  }

  /** Makes the JWT key of a server below this one known. @returns the bundle with it @throws StatusError */
  publishJwtKey(key: JwtAuthority): Promise<Bundle> {
    return this.authorities.publisher.publish(key);
  }

  /** Resolves once an X.509 CA signs: at once, but where it is to be signed by hand. */
  get live(): Promise<void> {
    return this.authorities.live;
  }

  /** What keeps this server from signing X509-SVIDs, in words for the operator; undefined when nothing does. */
  waitingFor(): string | undefined {
    return this.authorities.offline?.waitingFor();
  }

  /** Issues a workload's X509-SVID; its life is cut to the CA's. @throws StatusError UNAVAILABLE without a CA */
  x509Svid(fields: X509SvidFields): Promise<X509Svid> {
    return this.#issueX509(
      fields,
      ttlOr(fields.ttlSeconds, this.#parts.profile().defaultX509SvidTtlSeconds),
    );
  }

  agentSvid(fields: X509SvidFields): Promise<X509Svid> {
    return this.#issueX509(fields, this.#parts.profile().agentTtlSeconds);
  }

  serverSvid(publicKeySpki: Uint8Array): Promise<X509Svid> {
    const id = serverId(this.#parts.trustDomain);
    return this.#issueX509({ id, publicKeySpki }, this.#parts.profile().defaultX509SvidTtlSeconds);
  }

  async #issueX509(fields: X509SvidFields, ttlSeconds: number): Promise<X509Svid> {
    const { clock, random, metrics, trustDomain } = this.#parts;
    const ca = this.#activeX509();
    const now = clock.nowSeconds();
    const dnsNames = fields.dnsNames ?? [];
    const request = {
      id: fields.id,
      publicKeySpki: fields.publicKeySpki,
      subjectDer: svidSubjectDer(fields.subjectDer, dnsNames),
      dnsNames,
      notBefore: now - NOT_BEFORE_CUSHION_SECONDS,
      notAfter: Math.min(now + ttlSeconds, ca.notAfter),
    };
    const svid = await issueX509Svid(checkSvid(request, trustDomain, ca.notAfter), ca, random);
    metrics.count(["server_ca", "sign", "x509_svid"]);
    return svid;
  }

  /** Issues a CA certificate for a server below this one. @throws StatusError FAILED_PRECONDITION where no CA may be below this server's */
  async downstreamCa(fields: {
    readonly publicKeySpki: Uint8Array;
    readonly publicKey?: KeyObject;
    readonly ttlSeconds?: number;
  }): Promise<{ readonly chain: readonly Uint8Array[]; readonly expiresAt: number }> {
    const { clock, random, metrics, trustDomain } = this.#parts;
    const { caSubject, caTtlSeconds } = this.#parts.profile();
    const ca = this.#activeX509();
    const now = clock.nowSeconds();
    if (!allowsCaBelow(ca, await this.#parts.bundles.find(trustDomain.name), now)) {
      throw new StatusError(
        StatusCode.FAILED_PRECONDITION,
        "no CA may be below the CA of this server: its path length, or that of one above it, ends here; have it signed with one more",
      );
    }
    const notAfter = Math.min(now + ttlOr(fields.ttlSeconds, caTtlSeconds), ca.notAfter);
    const depth = Math.max(1, ca.chain.length);
    const chain = await issueDownstreamCa(
      {
        subjectDer: (serialNumber) =>
          caSubjectDer(caSubject, { organizationalUnit: [`DOWNSTREAM-${depth}`], serialNumber }),
        publicKeySpki: fields.publicKeySpki,
        trustDomainId: trustDomain.id,
        notBefore: now - NOT_BEFORE_CUSHION_SECONDS,
        notAfter,
      },
      ca,
      random,
    );
    metrics.count(["server_ca", "sign", "x509_ca_svid"]);
    return { chain, expiresAt: notAfter };
  }

  /** Issues a JWT-SVID; its life is cut to the key's. @throws StatusError UNAVAILABLE without a key */
  async jwtSvid(fields: {
    readonly id: SpiffeId;
    readonly audience: readonly string[];
    readonly ttlSeconds?: number;
    readonly includeJti?: boolean;
  }): Promise<TokenSvid> {
    const { clock, random, metrics } = this.#parts;
    const { jwtIssuer, defaultJwtSvidTtlSeconds } = this.#parts.profile();
    const now = clock.nowSeconds();
    const key = usable(this.authorities.jwt.state.active, now, "JWT key is not available yet");
    const ttl = ttlOr(fields.ttlSeconds, defaultJwtSvidTtlSeconds);
    const svid = await issueJwtSvid(
      {
        id: fields.id,
        audience: fields.audience,
        issuedAt: now,
        expiresAt: Math.min(now + ttl, key.notAfter),
        issuer: jwtIssuer,
        tokenId: fields.includeJti
          ? Buffer.from(random.bytes(16)).toString("base64url")
          : undefined,
      },
      key,
    );
    metrics.count(["server_ca", "sign", "jwt_svid"]);
    return svid;
  }

  /** Issues a WIT-SVID; its life is cut to the key's. @throws StatusError UNAVAILABLE without a key, INTERNAL for a foreign ID */
  async witSvid(fields: {
    readonly id: SpiffeId;
    readonly publicKey: KeyObject;
    readonly algorithm: string;
    readonly ttlSeconds?: number;
  }): Promise<TokenSvid> {
    const { clock, trustDomain, witSvids } = this.#parts;
    const { id, publicKey, algorithm } = fields;
    if (!id.memberOf(trustDomain)) {
      const why = `"${id}" is not a member of trust domain "${trustDomain}"`;
      throw new StatusError(StatusCode.INTERNAL, `invalid WIT-SVID ID: ${why}`);
    }
    const now = clock.nowSeconds();
    const active = this.authorities.wit?.state.active;
    const key = usable(active, now, "WIT key is not available for signing");
    const ttl = ttlOr(fields.ttlSeconds, DEFAULT_WIT_SVID_TTL_SECONDS);
    const expiresAt = Math.min(now + ttl, key.notAfter);
    const issuer = witSvids?.issuer ?? "";
    return issueWitSvid({ id, publicKey, algorithm, issuedAt: now, expiresAt, issuer }, key);
  }

  #activeX509(): X509Ca {
    const { active } = this.authorities.x509.state;
    const now = this.#parts.clock.nowSeconds();
    const waiting = this.waitingFor();
    const why = waiting === undefined ? "" : `: ${waiting}`;
    return usable(active, now, `X509 CA is not available for signing${why}`);
  }
}

/** The lifetime that was asked for. As the reference: 0 and less ask for the default. All in seconds. */
function ttlOr(asked: number | undefined, fallback: number): number {
  return asked !== undefined && asked > 0 ? asked : fallback;
}

/** @param now Unix seconds @throws StatusError UNAVAILABLE when there is none, or none any more */
function usable<T extends X509Ca | TokenKey>(
  authority: T | undefined,
  now: number,
  refusal: string,
): T {
  if (authority === undefined || authority.notAfter <= now) {
    throw new StatusError(StatusCode.UNAVAILABLE, refusal);
  }
  return authority;
}
