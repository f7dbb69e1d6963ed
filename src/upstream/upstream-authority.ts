/**
 * UpstreamAuthority: an authority above the server's own CA. It signs the server's intermediate and names the roots that
 * belong into the trust bundle. Called by the CA Manager only.
 */
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import type { Bundle, JwtAuthority, X509Authority } from "#spiffe/bundle.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

export interface MintX509CaResult {
  /** The new intermediate first, then whatever lies between it and the root; DER. */
  readonly caChain: readonly Uint8Array[];
  /** The roots to trust; DER. */
  readonly upstreamRoots: readonly X509Authority[];
  /** The version that signed, as `currentVersion` would have named it. */
  readonly version: string;
}

/** What an authority says of the whole trust domain. The sequence number grows with each change. */
export type UpstreamBundle = Pick<Bundle, "x509Authorities" | "jwtAuthorities" | "sequenceNumber">;

export interface UpstreamAuthority {
  readonly name: string;
  /** Why what was asked of it last could not be done, for the operator; undefined when it could. */
  readonly problem: string | undefined;
  /**
   * Names the certificates of the authority as they are now: another name means that another authority has taken over, or that
   * it has new certificates. Asked every few seconds. An authority that cannot be looked at keeps its last name.
   */
  currentVersion(): Promise<string>;
  /**
   * @param csr the server's certificate request, DER, with the trust domain's SPIFFE ID as its URI SAN
   * @param preferredTtlSeconds what the server would like; the authority may give less
   * @throws StatusError UNAVAILABLE when it cannot be reached; another trial may do better
   */
  mintX509Ca(csr: Uint8Array, preferredTtlSeconds: number): Promise<MintX509CaResult>;
  /**
   * The authority's own trust bundle, asked for every few seconds. Absent where it has none but the roots that came with a CA.
   *
   * @throws StatusError
   */
  fetchBundle?(): Promise<UpstreamBundle>;
  /**
   * Makes a key for JWT-SVIDs known to the whole trust domain. Absent where the authority takes none.
   *
   * @returns the keys of the whole trust domain, this one among them
   * @throws StatusError
   */
  publishJwtKey?(key: JwtAuthority): Promise<readonly JwtAuthority[]>;
  /** Ends calls under way and gives back what it holds. */
  close?(): void;
}

/** An authority that is not on any network: a request goes to it as a file, and what it signed comes back another day. */
export interface OfflineAuthority {
  readonly name: string;
  /** Where the request lies for whoever carries it. */
  readonly csrPath: string;
  /** How long before the end of a CA the request for the next one is made, at most. */
  readonly warnBeforeSeconds: number;
  /** Makes sure that the file holds the request. @param pem PKCS#10 @throws Error naming the file */
  putRequest(pem: string): Promise<void>;
  /** Takes the file away, so that nobody signs what is not wanted any more. @throws Error naming the file */
  removeRequest(): Promise<void>;
  /** The roots that alone may stand above the CA, DER; undefined where the operator names them with each certificate. @throws Error */
  trustAnchors(): Promise<readonly Uint8Array[] | undefined>;
  /** The certificates that were dropped for the server to find, DER; undefined when there is nothing new. @throws Error naming the file */
  newAnswer(): Promise<readonly Uint8Array[] | undefined>;
}

/** What signs the CA: an authority that answers at once, or one that signs by hand. */
export interface Upstream {
  readonly upstream?: UpstreamAuthority;
  readonly offline?: OfflineAuthority;
}

/** What either may use. */
export interface UpstreamParts {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}
