/** A TLS connection for https, by the proxy where there is one. Whoever asks for it judges whom it leads to, before anything is sent. */
import { isIP } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  getCACertificates,
  type TLSSocket,
} from "node:tls";
import { unbracketed } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";
import { type Environment, openTunnel, proxyFor } from "./proxy.ts";
import type { TlsPolicy } from "./tls-policy.ts";

const HTTPS_PORT = 443;

export interface TlsConnection {
  readonly url: URL;
  readonly policy: TlsPolicy;
  /** PEM; the authorities that the TLS stack measures the certificate by, for `checkWebCertificate`. */
  readonly ca?: string[];
  /** Throws to refuse the server. */
  readonly judge: (socket: TLSSocket, host: string) => void;
  /** Tells of a proxy. */
  readonly env: Environment;
  /** Ends the connection, whatever it is at. */
  readonly signal: AbortSignal;
}

/** @throws Error saying why there is no connection, or what the judge found */
export async function connectTls(connection: TlsConnection): Promise<TLSSocket> {
  const { url, policy, ca, judge, env, signal } = connection;
  const host = unbracketed(url.hostname);
  const port = url.port === "" ? HTTPS_PORT : Number(url.port);
  const proxy = proxyFor(host, port, env);
  const carrier =
    proxy === undefined
      ? { host, port }
      : { socket: await openTunnel({ proxy, authority: `${url.hostname}:${port}` }, signal) };
  const socket = await handshake(
    {
      ...carrier,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ["http/1.1"],
      ...policy,
      // The connection is judged below: so an error can say what certificate the server showed.
      rejectUnauthorized: false,
      ...(ca === undefined ? {} : { ca }),
    },
    signal,
  );
  try {
    judge(socket, host);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return socket;
}

/** The certification authorities of this machine, PEM; read once by the runtime, from where OpenSSL and Go look too. */
export function systemRoots(): string[] {
  const roots = getCACertificates("system");
  if (roots.length === 0) {
    throw new Error(
      "this machine has no root certificates: install them, or name a file in SSL_CERT_FILE",
    );
  }
  return roots;
}

/** RFC 9110 §4.3.4: a certificate that the machine trusts, for the host of the URL. @throws Error saying what is wrong with it */
export function checkWebCertificate(socket: TLSSocket, host: string): void {
  const certificate = socket.getPeerCertificate();
  const problem = checkServerIdentity(host, certificate)?.message ?? trustProblem(socket);
  if (problem !== undefined) throw new Error(problem);
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
