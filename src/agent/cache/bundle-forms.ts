/** A trust bundle together with what workloads get of it, each form made once for all of them. */
import type { KeyObject } from "node:crypto";
import { formatJwtKeySet, jwtKeysOf } from "#jwt/bundle-document.ts";
import type { Bundle } from "#spiffe/bundle.ts";

export class BundleForms {
  readonly bundle: Bundle;
  /** The X.509 authorities, DER, one after the other. The same object for as long as they are the same. */
  readonly x509: Uint8Array;
  /** The JWK set of the JWT authorities. The same object for as long as they are the same. */
  readonly jwt: Uint8Array;
  #jwtKeys: ReadonlyMap<string, KeyObject> | undefined;

  private constructor(bundle: Bundle, x509: Uint8Array, jwt: Uint8Array) {
    this.bundle = bundle;
    this.x509 = x509;
    this.jwt = jwt;
  }

  /** @returns the previous forms where nothing at all has changed */
  static of(bundle: Bundle, previous?: BundleForms): BundleForms {
    const x509 = Buffer.concat(bundle.x509Authorities.map(({ certificate }) => certificate));
    const jwt = Buffer.from(formatJwtKeySet(bundle));
    if (previous === undefined) return new BundleForms(bundle, x509, jwt);
    const sameX509 = Buffer.compare(x509, previous.x509) === 0;
    const sameJwt = Buffer.compare(jwt, previous.jwt) === 0;
    if (sameX509 && sameJwt && annotations(bundle) === annotations(previous.bundle)) {
      return previous;
    }
    return new BundleForms(bundle, sameX509 ? previous.x509 : x509, sameJwt ? previous.jwt : jwt);
  }

  /** The keys that verify JWT-SVIDs, by their IDs. */
  get jwtKeys(): ReadonlyMap<string, KeyObject> {
    this.#jwtKeys ??= jwtKeysOf(this.bundle);
    return this.#jwtKeys;
  }
}

/** What a bundle says besides its authorities. */
function annotations({ x509Authorities, jwtAuthorities, ...rest }: Bundle): string {
  return JSON.stringify([
    rest.refreshHint,
    rest.sequenceNumber,
    x509Authorities.map(({ tainted }) => tainted),
    jwtAuthorities.map(({ tainted, expiresAt }) => [tainted, expiresAt]),
  ]);
}
