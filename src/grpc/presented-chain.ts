import type { TLSSocket } from "node:tls";

/** Longer than any chain that would be accepted. */
const MAX_CHAIN_LENGTH = 10;

/** What Bun really gives: an empty object when there is no certificate; a self-signed end points to itself. */
interface PeerCertificate {
  readonly raw?: Buffer;
  readonly issuerCertificate?: PeerCertificate;
}

/**
 * The certificates the other side showed, DER, leaf first; empty when it showed none. Nothing about them is verified yet, except that
 * it holds the leaf's key. A client sees what its TLS stack made of them, the root of its trust bundle included.
 */
export function presentedChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerCertificate(true) as PeerCertificate | undefined;
  while (certificate?.raw !== undefined && chain.length < MAX_CHAIN_LENGTH) {
    chain.push(certificate.raw);
    const issuer = certificate.issuerCertificate;
    if (issuer === certificate) break;
    certificate = issuer;
  }
  return chain;
}
