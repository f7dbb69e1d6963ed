/**
 * A TLS connection to a bundle endpoint that has proven who it is, in the way its profile demands. Nothing is sent to one that has not.
 */
import { isIP } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  getCACertificates,
  type TLSSocket,
} from "node:tls";
import { presentedChain } from "#grpc/presented-chain.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyX509Svid } from "#x509/svid.ts";
import { type Environment, openTunnel, proxyFor } from "./proxy.ts";

/** What an endpoint is known by. */
export type EndpointProof =
  | { readonly kind: "https_web" }
  | {
      readonly kind: "https_spiffe";
      readonly endpointSpiffeId: SpiffeId;
      /** The X.509 authorities of the endpoint's trust domain, and of no other. */
      readonly roots: readonly Certificate[];
    };

export interface EndpointConnection {
  readonly url: URL;
  readonly proof: EndpointProof;
  readonly policy: TlsPolicy;
  /** Unix seconds. */
  readonly atSeconds: number;
  /** Tells of a proxy. */
  readonly env: Environment;
  /** Ends the connection, whatever it is at. */
  readonly signal: AbortSignal;
}

/** @throws Error saying why there is no connection, or what the endpoint failed to prove */
export async function connectEndpoint(connection: EndpointConnection): Promise<TLSSocket> {
  const { url, proof, policy, atSeconds, env, signal } = connection;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? 443 : Number(url.port);
  const proxy = proxyFor(host, port, env);
  const carrier =
    proxy === undefined
      ? { host, port }
      : { socket: await openTunnel(proxy, `${url.hostname}:${port}`, signal) };
  const socket = await handshake(
    {
      ...carrier,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ["http/1.1"],
      ...policy,
      // The connection is judged below: so an error can say what certificate the endpoint showed.
      rejectUnauthorized: false,
      ...(proof.kind === "https_web" ? { ca: systemRoots() } : {}),
    },
    signal,
  );
  try {
    if (proof.kind === "https_web") checkWebCertificate(socket, host);
    else checkX509Svid(presentedChain(socket), proof, atSeconds);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return socket;
}

/** The certification authorities of this machine, PEM; read once by the runtime, from where OpenSSL and Go look too. */
function systemRoots(): string[] {
  const roots = getCACertificates("system");
  if (roots.length === 0) {
    throw new Error(
      "this machine has no root certificates: install them, or name a file in SSL_CERT_FILE",
    );
  }
  return roots;
}

/** SPIFFE Federation §5.2.1.4: a certificate that the machine trusts, for the host of the URL. */
function checkWebCertificate(socket: TLSSocket, host: string): void {
  const certificate = socket.getPeerCertificate();
  const problem = checkServerIdentity(host, certificate)?.message ?? trustProblem(socket);
  if (problem === undefined) return;
  const id = spiffeIdIn(certificate.raw);
  const hint =
    id === undefined
      ? ""
      : `failed to authenticate bundle endpoint using web authentication but the server certificate contains SPIFFE ID "${id}": maybe use https_spiffe instead of https_web: `;
  throw new Error(`${hint}${problem}`);
}

/** What the TLS stack says about a chain, in words. */
const TRUST_PROBLEMS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "certificate has expired",
  CERT_NOT_YET_VALID: "certificate is not yet valid",
  DEPTH_ZERO_SELF_SIGNED_CERT: "certificate signed by unknown authority",
  SELF_SIGNED_CERT_IN_CHAIN: "certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "certificate signed by unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "certificate signed by unknown authority",
};

function trustProblem({ authorized, authorizationError }: TLSSocket): string | undefined {
  if (authorized) return undefined;
  const code = errorText(authorizationError);
  return TRUST_PROBLEMS[code] ?? `certificate is not trusted: ${code}`;
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

function handshake(options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connect(options);
  signal.addEventListener("abort", () => socket.destroy(), { once: true });
  socket.once("secureConnect", () => resolve(socket));
  // Not once: what comes after the handshake is reported by the request, and must not end the process.
  socket.on("error", (error) => reject(error));
  socket.once("close", () =>
    reject(signal.reason ?? new Error("the endpoint closed the connection")),
  );
  return promise;
}
