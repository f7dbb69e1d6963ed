/** The way to a SPIRE server: mTLS, where the server is known by its SPIFFE ID and by the authorities of its trust domain. */
import type { Clock } from "#clock/clock.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import { serverId } from "#spiffe/reserved-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { verifyX509Svid } from "#x509/svid.ts";
import { type Channel, tlsChannel } from "./client.ts";

export interface ServerAddress {
  readonly trustDomain: TrustDomain;
  readonly serverAddress: string;
  readonly serverPort: number;
  readonly tlsPolicy: TlsPolicy;
}

/** What the client shows. */
export interface ClientIdentity {
  readonly privateKeyPem: string;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
}

/**
 * Prepares the channel; nothing connects before the first call.
 *
 * @param roots the X.509 authorities to verify the server with, DER
 * @param identity undefined shows no certificate
 */
export function serverChannel(
  address: ServerAddress,
  roots: readonly Uint8Array[],
  identity: ClientIdentity | undefined,
  clock: Clock,
): Channel {
  const authorities = roots.map((der) => Certificate.parse(der));
  return tlsChannel({
    host: address.serverAddress,
    port: address.serverPort,
    policy: address.tlsPolicy,
    trustBundlePem: certificatesToPem(roots),
    ...(identity === undefined
      ? {}
      : {
          privateKeyPem: identity.privateKeyPem,
          certificateChainPem: certificatesToPem(identity.chain),
        }),
    // The TLS stack has checked the chain by its own rules; what counts is ours, and the name it must carry.
    verifyServer: (chain) => {
      const expected = serverId(address.trustDomain);
      // What follows the leaf is what the TLS stack found, the root included.
      const { id } = verifyX509Svid(chain, () => authorities, clock.nowSeconds());
      if (!id.equals(expected))
        throw new Error(`unexpected server ID "${id}", expected "${expected}"`);
    },
  });
}
