import type { KeyObject } from "node:crypto";
import { errorText } from "#spiffe/status-error.ts";
import type { Certificate } from "#x509/certificate.ts";
import type { ChainRequest } from "#x509/chain.ts";
import { KeyUsage } from "#x509/extensions.ts";
import { isoTime } from "#x509/iso-time.ts";
import { authoritySigner } from "#x509/keys.ts";
import { isSelfSigned, verifyChainToRoot } from "#x509/self-signed.ts";
import type { AuthorityKeyType, Signer } from "#x509/signer.ts";

/** An authority as it was found in files. */
export interface AuthorityParts {
  readonly privateKey: KeyObject;
  /** The authority's own certificate. */
  readonly certificate: Certificate;
  readonly intermediates: readonly Certificate[];
  readonly roots: readonly Certificate[];
  /** The files they came from, for messages. */
  readonly files: { readonly certificate: string; readonly key: string };
}

/** An authority that was checked: its key fits, it may issue an intermediate, and it leads to its roots. */
export interface Authority {
  readonly signer: Signer<AuthorityKeyType>;
  readonly certificate: Certificate;
  /** The authority's certificate and those above it, up to but without a self-signed root. */
  readonly chain: readonly Certificate[];
  readonly roots: readonly Certificate[];
  /** Unix seconds; when the first certificate of its path ends. */
  readonly notAfter: number;
}

/**
 * Checks an authority once; what it signs is then trusted to verify.
 *
 * @param atSeconds Unix seconds
 * @throws Error saying what does not fit
 */
export function checkAuthority(parts: AuthorityParts, atSeconds: number): Authority {
  const { certificate, roots, files } = parts;
  const signer = signerOf(parts);
  if (Buffer.compare(signer.publicKeySpki, certificate.publicKeySpki) !== 0) {
    const which =
      files.key === files.certificate ? files.key : `${files.certificate}, ${files.key}`;
    throw new Error(`certificate and private key do not match: ${which}`);
  }
  try {
    checkIssuer(certificate);
    const path = pathToRoot(parts, atSeconds);
    path.forEach(checkPathLength);
    return {
      signer,
      certificate,
      chain: path.filter((one) => !isSelfSigned(one)),
      roots,
      notAfter: Math.min(...path.map((one) => one.notAfter)),
    };
  } catch (error) {
    throw new Error(`${files.certificate}: ${errorText(error)}`, { cause: error });
  }
}

function signerOf({ privateKey, files }: AuthorityParts): Signer<AuthorityKeyType> {
  try {
    return authoritySigner(privateKey);
  } catch (error) {
    throw new Error(`${files.key}: ${errorText(error)}`, { cause: error });
  }
}

/** RFC 5280 §4.2.1.9 and §4.2.1.3: only a CA that may sign certificates has issued anything that verifies. */
function checkIssuer({ isCa, version, isSelfIssued, extensions, subjectText }: Certificate): void {
  // A root of an older version has nowhere to say it.
  const isOldRoot = version < 3 && isSelfIssued;
  if (!isCa && !isOldRoot) {
    throw new Error(`certificate "${subjectText}" is not a certificate authority`);
  }
  const { keyUsage } = extensions;
  if (keyUsage !== undefined && (keyUsage & KeyUsage.keyCertSign) === 0) {
    throw new Error(`certificate "${subjectText}" may not sign certificates`);
  }
}

function pathToRoot(parts: AuthorityParts, atSeconds: number): readonly Certificate[] {
  const { certificate, intermediates, roots } = parts;
  const above = roots.filter((root) => Buffer.compare(root.der, certificate.der) !== 0);
  const isTrusted = above.length < roots.length;
  try {
    if (isTrusted && certificate.isSelfIssued) return rootAlone(certificate, atSeconds);
    const request = { leaf: certificate, intermediates, atSeconds, usage: "any" } as const;
    if (!isTrusted) return verifyChainToRoot({ ...request, roots });
    return pathAbove({ ...request, roots: above });
  } catch (error) {
    throw new Error(
      `certificate cannot be validated with the provided bundle or is not self-signed: ${errorText(error)}`,
    );
  }
}

/** A bundle may hold the authority itself beside what is above it: whoever trusts the root alone wants the whole path. */
function pathAbove(request: ChainRequest): readonly Certificate[] {
  try {
    return verifyChainToRoot(request);
  } catch {
    checkTime(request.leaf, request.atSeconds);
    return [request.leaf];
  }
}

/** A root needs nobody above it, but it must be in its time and be what it says. */
function rootAlone(certificate: Certificate, atSeconds: number): readonly Certificate[] {
  checkTime(certificate, atSeconds);
  if (isSelfSigned(certificate)) return [certificate];
  throw new Error(`signature by "${certificate.subjectText}" does not verify`);
}

function checkTime({ notBefore, notAfter, subjectText }: Certificate, atSeconds: number): void {
  if (atSeconds < notBefore || atSeconds > notAfter) {
    throw new Error(
      `certificate "${subjectText}" is not valid now, but from ${isoTime(notBefore)} to ${isoTime(notAfter)}`,
    );
  }
}

/** RFC 5280 §4.2.1.9: the server's certificate is one CA more below each of the path. */
function checkPathLength({ extensions, subjectText }: Certificate, below: number): void {
  const limit = extensions.basicConstraints?.pathLength;
  if (limit !== undefined && below + 1 > limit) {
    throw new Error(
      `the path length of certificate "${subjectText}" (${limit}) has no room for the CA of this server below it`,
    );
  }
}
