/**
 * Path validation (RFC 5280 §6), done here rather than by the TLS stack so that it is the same for every caller and fails closed.
 */

import type { Certificate } from "./certificate.ts";
import { KeyUsage } from "./extensions.ts";
import { isoTime } from "./iso-time.ts";
import { nameConstraintProblem } from "./name-constraints.ts";
import { Oid } from "./oid.ts";
import { publicKeyProblem, verifySignature } from "./signature.ts";

/** A path longer than this is refused; it also bounds the work that a stranger's certificates can cause. */
const MAX_PATH_LENGTH = 8;
const MAX_SIGNATURE_CHECKS = 50;

export interface ChainRequest {
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
  readonly roots: readonly Certificate[];
  /** Unix seconds. */
  readonly atSeconds: number;
  readonly usage: "server" | "client" | "any";
}

/**
 * Finds a valid path from the leaf to one of the roots.
 *
 * @returns leaf first, root last
 * @throws Error saying why there is none
 */
export function verifyChain(request: ChainRequest): Certificate[] {
  const search = startSearch(request);
  const { value: path } = pathsFrom(search, [request.leaf]).next();
  if (path !== undefined) return path;
  throw noPath(search);
}

/**
 * Finds every valid path from the leaf to a root: cross-signed authorities make several. A leaf that is itself among the roots
 * needs nobody above it and is a path alone.
 *
 * @returns at least one path, each leaf first and root last
 * @throws Error saying why there is none
 */
export function verifyAllChains(request: ChainRequest): Certificate[][] {
  const search = startSearch(request);
  const { leaf, roots } = request;
  if (roots.some(({ der }) => Buffer.compare(der, leaf.der) === 0)) return [[leaf]];
  const paths = [...pathsFrom(search, [request.leaf])];
  if (paths.length > 0) return paths;
  throw noPath(search);
}

function noPath({ problem }: Search): Error {
  const why = problem === undefined ? "" : ` (${problem})`;
  return new Error(`certificate signed by unknown authority${why}`);
}

interface Search {
  readonly request: ChainRequest;
  checksLeft: number;
  /** Why the most promising path failed. */
  problem: string | undefined;
}

function startSearch(request: ChainRequest): Search {
  checkCertificate(request.leaf, request.atSeconds);
  checkLeafUsage(request.leaf, request.usage);
  return { request, checksLeft: MAX_SIGNATURE_CHECKS, problem: undefined };
}

function* pathsFrom(search: Search, path: Certificate[]): Generator<Certificate[], undefined> {
  const current = path[path.length - 1];
  if (current === undefined || path.length > MAX_PATH_LENGTH) return;
  const { roots, intermediates } = search.request;
  // An authority in the bundle is trusted as it is, even when it is the certificate itself.
  const anchor = roots.find((root) => Buffer.compare(root.der, current.der) === 0);
  if (anchor !== undefined && path.length > 1) {
    yield path;
    return;
  }
  for (const root of likelyFirst(roots, current)) {
    if (issues(search, root, path, "root")) yield [...path, root];
  }
  for (const intermediate of likelyFirst(intermediates, current)) {
    if (path.includes(intermediate) || !issues(search, intermediate, path, "between")) continue;
    yield* pathsFrom(search, [...path, intermediate]);
  }
}

/** The authorities that bear the issuer's name, those with the key that the child names first. */
function likelyFirst(authorities: readonly Certificate[], child: Certificate): Certificate[] {
  const named = authorities.filter(
    ({ subjectDer }) => Buffer.compare(subjectDer, child.issuerDer) === 0,
  );
  // Only the order depends on key identifiers (RFC 5280 §4.2.1.1): the signature decides, and CAs were made anew with others.
  const wanted = child.extensions.authorityKeyId;
  const likely = ({ extensions: { subjectKeyId } }: Certificate): boolean =>
    wanted === undefined ||
    (subjectKeyId !== undefined && Buffer.compare(subjectKeyId, wanted) === 0);
  return [...named.filter(likely), ...named.filter((authority) => !likely(authority))];
}

/** Where in a path an authority stands: named as trusted, or shown by whoever is to be verified. */
type Place = "root" | "between";

/** Whether the authority may have issued the end of the path, and did. */
function issues(
  search: Search,
  authority: Certificate,
  path: readonly Certificate[],
  place: Place,
): boolean {
  const child = path[path.length - 1];
  if (child === undefined) return false;
  if (search.checksLeft-- <= 0) {
    search.problem = "certificate chain needs too many signature checks";
    return false;
  }
  try {
    checkCertificate(authority, search.request.atSeconds);
    checkAuthority(authority, path, place);
    checkSignature(child, authority);
    return true;
  } catch (error) {
    search.problem ??= error instanceof Error ? error.message : String(error);
    return false;
  }
}

function checkSignature(child: Certificate, authority: Certificate): void {
  const key = authority.publicKey;
  const problem = publicKeyProblem(key);
  if (problem !== undefined) throw new Error(`key of "${authority.subjectText}": ${problem}`);
  if (!verifySignature(child.signatureAlgorithm, key, child.tbs, child.signature)) {
    throw new Error(`signature by "${authority.subjectText}" does not verify`);
  }
}

function checkCertificate(certificate: Certificate, atSeconds: number): void {
  const name = certificate.uriSans[0] ?? certificate.subjectText;
  if (atSeconds < certificate.notBefore) {
    throw new Error(
      `certificate "${name}" is not yet valid: it starts at ${isoTime(certificate.notBefore)}`,
    );
  }
  if (atSeconds > certificate.notAfter) {
    throw new Error(`certificate "${name}" has expired at ${isoTime(certificate.notAfter)}`);
  }
  const [unknown] = certificate.extensions.unknownCritical;
  if (unknown !== undefined)
    throw new Error(`certificate "${name}" has the unknown critical extension ${unknown}`);
}

/** RFC 5280 §6.1.4 (k)-(n): an issuer is a CA, may sign certificates, and has room for the path below it. */
function checkAuthority(authority: Certificate, path: readonly Certificate[], place: Place): void {
  const { basicConstraints, keyUsage, nameConstraints } = authority.extensions;
  const name = authority.subjectText;
  // The first two versions have nowhere to say it: whoever trusts such a root knows (RFC 5280 §6.1.4 (k)).
  const isKnownCa = place === "root" && authority.version < 3;
  if (basicConstraints?.isCa !== true && !isKnownCa) {
    throw new Error(`"${name}" is not a certificate authority`);
  }
  if (keyUsage !== undefined && (keyUsage & KeyUsage.keyCertSign) === 0) {
    throw new Error(`"${name}" may not sign certificates`);
  }
  // Self-issued certificates do not count (RFC 5280 §4.2.1.9); the leaf does not either.
  const between = path.slice(1).filter((certificate) => !certificate.isSelfIssued).length;
  const limit = basicConstraints?.pathLength;
  if (limit !== undefined && between > limit) {
    throw new Error(`path below "${name}" is longer than its path length allows`);
  }
  if (nameConstraints === undefined) return;
  for (const certificate of path) {
    const problem = nameConstraintProblem(nameConstraints, certificate);
    if (problem !== undefined) throw new Error(`${problem} of "${name}"`);
  }
}

function checkLeafUsage(leaf: Certificate, usage: ChainRequest["usage"]): void {
  const { extKeyUsage } = leaf.extensions;
  if (usage === "any" || extKeyUsage.length === 0) return;
  const wanted = usage === "server" ? Oid.serverAuth : Oid.clientAuth;
  if (!extKeyUsage.includes(wanted) && !extKeyUsage.includes(Oid.anyExtendedKeyUsage)) {
    throw new Error(`certificate is not for use as a TLS ${usage}`);
  }
}
