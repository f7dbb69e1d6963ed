/**
 * What a TLS connection must agree on, at least. X25519MLKEM768 comes first in any case: each side that has it uses it, so that who records
 * a connection today cannot read it with a quantum computer later.
 */
export interface TlsPolicy {
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  /** Groups for the key exchange, in the notation of OpenSSL; undefined for all that the TLS stack has. */
  readonly ecdhCurve?: string;
}

/** @param requirePqKem whether a peer without a post-quantum key exchange is turned away */
export function tlsPolicy(requirePqKem: boolean): TlsPolicy {
  // Post-quantum groups are there for TLS 1.3 only; of those, this is the one that the TLS stack has.
  return requirePqKem
    ? { minVersion: "TLSv1.3", ecdhCurve: "X25519MLKEM768" }
    : { minVersion: "TLSv1.2" };
}
