import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { rfc3339 } from "./go-time.ts";

/** A certificate as the Debug services give it. */
interface ShownCertificate {
  readonly id: SPIFFEID | undefined;
  /** Unix seconds. */
  readonly expiresAt: number;
  readonly subject: string;
}

/** The chain as `debug getinfo` shows it; empty for none. */
export function chainText(chain: readonly ShownCertificate[]): string {
  if (chain.length === 0) return "";
  const blocks = chain.map(({ id, subject, expiresAt }, index) => {
    const shownId = id === undefined ? "(none)" : `spiffe://${id.trustDomain}${id.path}`;
    return (
      `    [${index}] SPIFFE ID:  ${shownId}\n` +
      `        Subject:    ${subject}\n` +
      `        Expires At: ${rfc3339(expiresAt)}\n`
    );
  });
  return `  SVID Chain:\n${blocks.join("")}`;
}
