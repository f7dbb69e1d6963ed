/** A certificate as the Debug services of both daemons show it. */

import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { Certificate } from "#x509/certificate.ts";

export interface CertificateMessage {
  /** Undefined for a certificate without a SPIFFE ID. */
  readonly id: SPIFFEID | undefined;
  /** Unix seconds. */
  readonly expiresAt: number;
  readonly subject: string;
}

export function certificateMessage(certificate: Certificate): CertificateMessage {
  return {
    id: spiffeIdOf(certificate),
    expiresAt: certificate.notAfter,
    subject: certificate.subjectText,
  };
}

function spiffeIdOf({ uriSans: [uri] }: Certificate): SPIFFEID | undefined {
  if (uri === undefined) return undefined;
  try {
    const { trustDomain, path } = SpiffeId.parse(uri);
    return { trustDomain: trustDomain.name, path };
  } catch {
    return undefined;
  }
}
