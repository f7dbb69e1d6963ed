/** Tainting and revoking an authority, as changes of the trust bundle. A tainted one still verifies; a revoked one is gone. */
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { x509AuthorityIds } from "./authority.ts";

interface Taintable {
  readonly tainted: boolean;
}

/**
 * @param subjectKeyId in hex
 * @throws StatusError INVALID_ARGUMENT when it is tainted already, NOT_FOUND
 */
export function taintX509Authority(bundle: Bundle, subjectKeyId: string): Bundle {
  const x509Authorities = tainted(bundle.x509Authorities, hasSubjectKeyId(subjectKeyId), {
    already: "root CA is already tainted",
    missing: "no ca found with provided subject key ID",
  });
  return next({ ...bundle, x509Authorities });
}

/** @throws StatusError INVALID_ARGUMENT when it is not tainted, NOT_FOUND */
export function revokeX509Authority(bundle: Bundle, subjectKeyId: string): Bundle {
  const x509Authorities = revoked(bundle.x509Authorities, hasSubjectKeyId(subjectKeyId), {
    untainted: "it is not possible to revoke an untainted root CA",
    missing: "no root CA found with provided subject key ID",
  });
  return next({ ...bundle, x509Authorities });
}

/** @throws StatusError INVALID_ARGUMENT when it is tainted already, NOT_FOUND */
export function taintJwtAuthority(bundle: Bundle, keyId: string): Bundle {
  const jwtAuthorities = tainted(bundle.jwtAuthorities, (one) => one.keyId === keyId, {
    already: "key is already tainted",
    missing: "no JWT Key found with provided key ID",
  });
  return next({ ...bundle, jwtAuthorities });
}

/** @throws StatusError INVALID_ARGUMENT when it is not tainted, NOT_FOUND */
export function revokeJwtAuthority(bundle: Bundle, keyId: string): Bundle {
  const jwtAuthorities = revoked(bundle.jwtAuthorities, (one) => one.keyId === keyId, {
    untainted: "it is not possible to revoke an untainted key",
    missing: "no JWT Key found with provided key ID",
  });
  return next({ ...bundle, jwtAuthorities });
}

function hasSubjectKeyId(subjectKeyId: string): (one: { certificate: Uint8Array }) => boolean {
  return ({ certificate }) =>
    x509AuthorityIds(Certificate.parse(certificate)).authorityId === subjectKeyId;
}

function tainted<T extends Taintable>(
  authorities: readonly T[],
  isMeant: (authority: T) => boolean,
  words: { readonly already: string; readonly missing: string },
): readonly T[] {
  const meant = authorities.filter(isMeant);
  if (meant.length === 0) throw new StatusError(StatusCode.NOT_FOUND, words.missing);
  if (meant.some((one) => one.tainted)) {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, words.already);
  }
  return authorities.map((one) => (meant.includes(one) ? { ...one, tainted: true } : one));
}

function revoked<T extends Taintable>(
  authorities: readonly T[],
  isMeant: (authority: T) => boolean,
  words: { readonly untainted: string; readonly missing: string },
): readonly T[] {
  const meant = authorities.filter(isMeant);
  if (meant.length === 0) throw new StatusError(StatusCode.NOT_FOUND, words.missing);
  // Whoever holds something it signed must have had the time to have it replaced.
  if (meant.some((one) => !one.tainted)) {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, words.untainted);
  }
  return authorities.filter((one) => !meant.includes(one));
}

function next(bundle: Bundle): Bundle {
  return { ...bundle, sequenceNumber: bundle.sequenceNumber + 1 };
}
