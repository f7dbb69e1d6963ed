/**
 * TLS to a server that the caller of this room judges. grpc-js asks its own hook only about chains that its trust bundle verifies, so
 * without a bundle it would ask nobody; here the question comes after every handshake, before anything else is sent.
 */
import type { Socket } from "node:net";
import { createSecureContext, type TLSSocket } from "node:tls";
import { type CallCredentials, ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";
import { systemClock } from "#clock/clock.ts";
import { askForTunnel, type Tunnel } from "#http/proxy.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { presentedChain } from "./presented-chain.ts";

/** gRPC, connection backoff: so long may it take to connect. A peer that takes a connection and says nothing would hold it for ever. */
const CONNECT_TIMEOUT_MS = 20_000;

/** Called with the server's chain, DER, leaf first; throws to refuse the server. */
export type VerifyServer = (chain: readonly Uint8Array[]) => void;

export interface TlsCredentials {
  /** PEM; undefined leaves the chain to `verifyServer` alone. */
  readonly trustBundlePem?: string;
  readonly privateKeyPem?: string;
  /** Leaf first. */
  readonly certificateChainPem?: string;
  readonly verifyServer: VerifyServer;
  readonly policy: TlsPolicy;
  /** The connection leads to a proxy, which is to connect to the server. */
  readonly tunnel?: Tunnel | undefined;
}

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type Target = Parameters<ChannelCredentials["_createSecureConnector"]>[0];

export class VerifyingCredentials extends ChannelCredentials {
  readonly #tls: ChannelCredentials;
  readonly #verifyServer: VerifyServer;
  readonly #tunnel: Tunnel | undefined;

  constructor(options: TlsCredentials) {
    super();
    this.#tunnel = options.tunnel;
    this.#verifyServer = options.verifyServer;
    const { policy, trustBundlePem: ca, privateKeyPem: key, certificateChainPem: cert } = options;
    const context = createSecureContext({
      ...policy,
      // Never the system's authorities: left out, the stack would read them all.
      ca: ca ?? [],
      ...(key === undefined ? {} : { key }),
      ...(cert === undefined ? {} : { cert }),
    });
    this.#tls = ChannelCredentials.createFromSecureContext(context, {
      rejectUnauthorized: ca !== undefined,
      // SPIFFE names servers by their ID, not their host.
      checkServerIdentity: () => undefined,
    });
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    target: Target,
    options: ChannelOptions,
    callCredentials?: CallCredentials,
  ): SecureConnector {
    const connector = this.#tls._createSecureConnector(target, options, callCredentials);
    return {
      connect: async (socket: Socket) => {
        const connected = await inTime(socket, async () => {
          if (this.#tunnel !== undefined) await askForTunnel(socket, this.#tunnel);
          return connector.connect(socket);
        });
        try {
          this.#verifyServer(presentedChain(connected.socket as TLSSocket));
        } catch (error) {
          connected.socket.destroy();
          throw error;
        }
        return connected;
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }
}

/** @throws what the work throws, in words; the socket is destroyed when it takes too long */
async function inTime<T>(socket: Socket, work: () => Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = systemClock.after(CONNECT_TIMEOUT_MS, () => {
    socket.destroy();
    reject(new Error(`no TLS connection within ${CONNECT_TIMEOUT_MS / 1000} s`));
  });
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    throw named(error);
  } finally {
    timer.cancel();
  }
}

/** The words for it that the reference's tools know; what the TLS stack says depends on where in the chain it got stuck. */
const UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority";
const UNKNOWN_AUTHORITY_CODES: readonly string[] = [
  "CERT_SIGNATURE_FAILURE",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
];

/** Of the server's chain, by this machine's clock. */
const TIME_PROBLEMS: Readonly<Record<string, string>> = {
  CERT_NOT_YET_VALID: "the server's certificate is not yet valid",
  CERT_HAS_EXPIRED: "the server's certificate has expired",
};

function named(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  const timeProblem = TIME_PROBLEMS[String(error.code)];
  if (timeProblem !== undefined) return new Error(timeProblem, { cause: error });
  return UNKNOWN_AUTHORITY_CODES.includes(String(error.code))
    ? new Error(`${UNKNOWN_AUTHORITY} (${error.message})`, { cause: error })
    : error;
}

/** Whether a call failed because the server's certificate leads to no authority that the client trusts. */
export function isUnknownAuthority(error: unknown): boolean {
  return (
    error instanceof StatusError &&
    error.code === StatusCode.UNAVAILABLE &&
    error.message.includes("certificate signed by unknown authority")
  );
}
