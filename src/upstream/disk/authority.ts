import type { KeyObject } from "node:crypto";
import { errorText } from "#spiffe/status-error.ts";
import type { Certificate } from "#x509/certificate.ts";
import { verifyChain } from "#x509/chain.ts";
import { KeyUsage } from "#x509/extensions.ts";
import { signerFromPrivateKey } from "#x509/keys.ts";
import type { Signer } from "#x509/signer.ts";

/** An authority as it was found in files. */
export interface AuthorityParts {
  readonly privateKey: KeyObject;
  /** The authority's own certificate. */
  readonly certificate: Certificate;
  readonly intermediates: readonly Certificate[];
  readonly roots: readonly Certificate[];
}

/** An authority that was checked: its key fits, it may issue an intermediate, and it leads to its roots. */
export interface Authority {
  readonly signer: Signer;
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
  const { privateKey, certificate, roots } = parts;
  const signer = signerFromPrivateKey(privateKey);
  if (Buffer.compare(signer.publicKeySpki, certificate.publicKeySpki) !== 0) {
    throw new Error("certificate and private key do not match");
  }
  checkIssuer(certificate);
  const path = pathToRoot(parts, atSeconds);
  path.forEach(checkRoomBelow);
  return {
    signer,
    certificate,
    chain: path.filter((one) => !one.isSelfIssued),
    roots,
    notAfter: Math.min(...path.map((one) => one.notAfter)),
  };
}

/** RFC 5280 §4.2.1.9 and §4.2.1.3: only a CA that may sign certificates has issued anything that verifies. */
function checkIssuer({ isCa, extensions, subjectText }: Certificate): void {
  if (!isCa) throw new Error(`certificate "${subjectText}" is not a certificate authority`);
  const { keyUsage } = extensions;
  if (keyUsage !== undefined && (keyUsage & KeyUsage.keyCertSign) === 0) {
    throw new Error(`certificate "${subjectText}" may not sign certificates`);
  }
}

function pathToRoot(parts: AuthorityParts, atSeconds: number): readonly Certificate[] {
  const { certificate, intermediates, roots } = parts;
  const trusted = roots.some((root) => Buffer.compare(root.der, certificate.der) === 0);
  try {
    if (trusted) return trustedPath(certificate, atSeconds);
    return verifyChain({ leaf: certificate, intermediates, roots, atSeconds, usage: "any" });
  } catch (error) {
    throw new Error(
      `certificate cannot be validated with the provided bundle or is not self-signed: ${errorText(error)}`,
    );
  }
}

/** An authority that is a root itself needs nobody above it, but it must be in its time and, if self-signed, be so in truth. */
function trustedPath(certificate: Certificate, atSeconds: number): readonly Certificate[] {
  const { notBefore, notAfter, subjectText } = certificate;
  if (atSeconds < notBefore || atSeconds > notAfter) {
    throw new Error(`certificate "${subjectText}" is not valid now`);
  }
  if (!certificate.isSelfIssued) return [certificate];
  const alone = { intermediates: [], roots: [certificate], atSeconds, usage: "any" } as const;
  verifyChain({ leaf: certificate, ...alone });
  return [certificate];
}

/** RFC 5280 §4.2.1.9: the server's certificate is one CA more below each of the path. */
function checkRoomBelow({ extensions, subjectText }: Certificate, below: number): void {
  const limit = extensions.basicConstraints?.pathLength;
  if (limit !== undefined && below + 1 > limit) {
    throw new Error(
      `the path length of certificate "${subjectText}" (${limit}) has no room for the CA of this server below it`,
    );
  }
}
