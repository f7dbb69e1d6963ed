/**
 * A TLS connection to a bundle endpoint that has proven who it is, in the way its profile demands. Nothing is sent to one that has not.
 */
import type { TLSSocket } from "node:tls";
import { presentedChain } from "#grpc/presented-chain.ts";
import {
  checkWebCertificate,
  connectTls,
  systemRoots,
  type TlsConnection,
} from "#http/connect-tls.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyX509Svid } from "#x509/svid.ts";

/** What an endpoint is known by. */
export type EndpointProof =
  | { readonly kind: "https_web" }
  | {
      readonly kind: "https_spiffe";
      readonly endpointSpiffeId: SpiffeId;
      /** The X.509 authorities of the endpoint's trust domain, and of no other. */
      readonly roots: readonly Certificate[];
    };

export interface EndpointConnection extends Omit<TlsConnection, "ca" | "judge"> {
  readonly proof: EndpointProof;
  /** Unix seconds. */
  readonly atSeconds: number;
}

/** @throws Error saying why there is no connection, or what the endpoint failed to prove */
export function connectEndpoint(connection: EndpointConnection): Promise<TLSSocket> {
  const { proof, atSeconds } = connection;
  return proof.kind === "https_web"
    ? connectTls({ ...connection, ca: systemRoots(), judge: checkWebEndpoint })
    : connectTls({
        ...connection,
        judge: (socket) => checkX509Svid(presentedChain(socket), proof, atSeconds),
      });
}

/** SPIFFE Federation §5.2.1.4. */
function checkWebEndpoint(socket: TLSSocket, host: string): void {
  try {
    checkWebCertificate(socket, host);
  } catch (error) {
    const id = spiffeIdIn(socket.getPeerCertificate().raw);
    if (id === undefined) throw error;
    throw new Error(
      `failed to authenticate bundle endpoint using web authentication but the server certificate contains SPIFFE ID "${id}": maybe use https_spiffe instead of https_web: ${errorText(error)}`,
    );
  }
}

function spiffeIdIn(der: Uint8Array): string | undefined {
  try {
    return Certificate.parse(der).uriSans.find((uri) => uri.startsWith("spiffe://"));
  } catch {
    return undefined;
  }
}

/** SPIFFE Federation §5.2.2.4: a valid X509-SVID for the endpoint's SPIFFE ID, by the bundle of that ID's trust domain. */
function checkX509Svid(
  chain: readonly Uint8Array[],
  proof: EndpointProof & { readonly kind: "https_spiffe" },
  atSeconds: number,
): void {
  const { endpointSpiffeId: expected, roots } = proof;
  const rootsOf: Parameters<typeof verifyX509Svid>[1] = (trustDomain) =>
    expected.memberOf(trustDomain) ? roots : undefined;
  const { id } = verifyX509Svid(chain, rootsOf, atSeconds);
  if (!id.equals(expected)) throw new Error(`unexpected ID "${id}": expected "${expected}"`);
}
