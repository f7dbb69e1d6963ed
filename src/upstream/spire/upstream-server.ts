/** Calls to the server above, over mTLS with the SVID of this server. The connection is made anew with every new SVID. */

import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#clock/clock.ts";
import { callUnary, type UnaryRequest, type UnaryResponse } from "#grpc/client.ts";
import { type ServerAddress, serverChannel } from "#grpc/server-channel.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { WorkloadIdentity } from "./workload-identity.ts";
import type { WorkloadSvid } from "./workload-svid.ts";

/** As the reference: a server that publishes a key holds up its own caller meanwhile. */
const CALL_TIMEOUT_MS = 5000;
const IDENTITY_TIMEOUT_MS = 5000;

interface Clients {
  readonly svid: SVIDClient;
  readonly bundle: BundleClient;
}

interface Connection extends Clients {
  /** What it was made with. */
  readonly identity: WorkloadSvid;
}

export class UpstreamServer {
  readonly #address: ServerAddress;
  readonly #identity: WorkloadIdentity;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  #connection: Connection | undefined;
  #problem: string | undefined;

  /** Connects when it is first called. */
  constructor(address: ServerAddress, identity: WorkloadIdentity, clock: Clock) {
    this.#address = address;
    this.#identity = identity;
    this.#clock = clock;
  }

  /**
   * Makes one call.
   *
   * @throws StatusError UNAVAILABLE when the server cannot be reached or does not answer, or this server has no SVID to show
   */
  async call<N extends keyof Clients, M extends keyof Clients[N] & string>(
    service: N,
    method: M,
    request: UnaryRequest<Clients[N][M]>,
  ): Promise<UnaryResponse<Clients[N][M]>> {
    try {
      const answer = await this.#call(service, method, request);
      this.#problem = undefined;
      return answer;
    } catch (error) {
      this.#problem = errorText(error);
      throw error;
    }
  }

  /** Why the last call failed; undefined when it did not. */
  get problem(): string | undefined {
    return this.#problem;
  }

  async #call<N extends keyof Clients, M extends keyof Clients[N] & string>(
    service: N,
    method: M,
    request: UnaryRequest<Clients[N][M]>,
  ): Promise<UnaryResponse<Clients[N][M]>> {
    const connection = await this.#connected();
    const client: Client & Clients[N] = connection[service];
    try {
      const settings = { timeoutMs: CALL_TIMEOUT_MS, signal: this.#closing.signal };
      return await callUnary<Clients[N], M>(client, method, request, settings);
    } catch (error) {
      throw this.#failure(error, connection);
    }
  }

  close(): void {
    this.#closing.abort();
    this.#drop(this.#connection);
  }

  async #connected(): Promise<Connection> {
    const identity = await this.#identity.svid(IDENTITY_TIMEOUT_MS);
    if (this.#connection?.identity === identity) return this.#connection;
    // Calls under way on the old connection end by themselves.
    this.#drop(this.#connection);
    const { address, credentials, options } = serverChannel(
      this.#address,
      identity.roots,
      identity,
      this.#clock,
    );
    const svid = new SVIDClient(address, credentials, options);
    const shared = { ...options, channelOverride: svid.getChannel() };
    this.#connection = { identity, svid, bundle: new BundleClient(address, credentials, shared) };
    return this.#connection;
  }

  #drop(connection: Connection | undefined): void {
    connection?.svid.close();
    if (this.#connection === connection) this.#connection = undefined;
  }

  #failure(error: unknown, connection: Connection): StatusError {
    const { serverAddress, serverPort } = this.#address;
    const code = error instanceof StatusError ? error.code : StatusCode.INTERNAL;
    const unreachable = code === StatusCode.UNAVAILABLE || code === StatusCode.DEADLINE_EXCEEDED;
    // A network that swallows everything is not noticed by the connection for many minutes.
    if (unreachable) this.#drop(connection);
    const hint =
      code === StatusCode.PERMISSION_DENIED
        ? `; "${connection.identity.id}" needs an entry there with -downstream`
        : "";
    return new StatusError(
      unreachable ? StatusCode.UNAVAILABLE : code,
      `upstream server ${formatHostPort({ host: serverAddress, port: serverPort })}: ${errorText(error)}${hint}`,
      { cause: error },
    );
  }
}
