/** The client's side: channels to a local socket or to the server, and calls that speak StatusError. */

import {
  type CallOptions,
  type ChannelCredentials,
  type ChannelOptions,
  type Client,
  type ClientUnaryCall,
  connectivityState,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { systemClock } from "#clock/clock.ts";
import { proxyAddress, proxyFor } from "#http/proxy.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { statusErrorFrom } from "./status.ts";
import { type TlsCredentials, VerifyingCredentials } from "./verifying-credentials.ts";

const MIB = 1024 * 1024;
/** Of an answer from this machine, inflated: ten thousand entries and more in one message. */
const MAX_LOCAL_BYTES = 64 * MIB;
/** From another: entries come five hundred at a time, and so do SVIDs; bundles are the largest. */
const MAX_REMOTE_BYTES = 16 * MIB;
/** How long a connection may take before a call that waits for it fails. */
const RECONNECT_BACKOFF_MS = 1_000;

/** The three arguments of every generated client. */
export interface Channel {
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
}

const OPTIONS: ChannelOptions = {
  "grpc.enable_channelz": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.max_reconnect_backoff_ms": RECONNECT_BACKOFF_MS,
  // Clients with the same credentials object would share a connection, across a renewal of the certificate too.
  "grpc.use_local_subchannel_pool": 1,
};

/** @param own what takes the place of plain credentials */
export function unixChannel(path: string, own?: ChannelCredentials): Channel {
  return {
    address: `unix:${path}`,
    credentials: own ?? credentials.createInsecure(),
    options: {
      ...OPTIONS,
      "grpc.max_receive_message_length": MAX_LOCAL_BYTES,
      "grpc.default_authority": "localhost",
    },
  };
}

export interface TlsChannelOptions extends Omit<TlsCredentials, "tunnel"> {
  readonly host: string;
  readonly port: number;
}

/**
 * Whatever the TLS stack thinks of the server, `verifyServer` has the last word, and is called in every case. Where the environment names a
 * proxy for the host, the channel leads through it.
 *
 * @throws Error when the proxy that the environment names is of no use
 */
export function tlsChannel({ host, port, ...identity }: TlsChannelOptions): Channel {
  const proxy = proxyFor(host, port, process.env);
  const authority = formatHostPort({ host, port });
  const tunnel = proxy === undefined ? undefined : { proxy, authority };
  return {
    address: `dns:${proxy === undefined ? authority : formatHostPort(proxyAddress(proxy))}`,
    credentials: new VerifyingCredentials({ ...identity, tunnel }),
    // Bun refuses an IP address as the name of a TLS server.
    options: {
      ...OPTIONS,
      "grpc.max_receive_message_length": MAX_REMOTE_BYTES,
      "grpc.ssl_target_name_override": "spire-server",
      "grpc.default_authority": "spire-server",
    },
  };
}

export interface CallSettings {
  /** Milliseconds; undefined waits for ever. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly metadata?: Metadata;
}

export interface UnarySettings extends CallSettings {
  /** Called with what the answer ends with, before whoever waits for the answer goes on. */
  readonly onTrailer?: (trailer: Metadata) => void;
}

type UnaryMethod<Q, R> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: R) => void,
) => unknown;

/** The request of a generated client's unary method. */
export type UnaryRequest<F> = F extends UnaryMethod<infer Q, infer _R> ? Q : never;
/** Its response. */
export type UnaryResponse<F> = F extends UnaryMethod<infer _Q, infer R> ? R : never;

/** Makes one unary call by the generated client's method name. @throws StatusError */
export function callUnary<C extends Client, M extends keyof C & string>(
  client: C,
  method: M,
  request: UnaryRequest<C[M]>,
  settings: UnarySettings = {},
): Promise<UnaryResponse<C[M]>> {
  if (settings.signal?.aborted) return Promise.reject(cancelled());
  const { promise, resolve, reject } = Promise.withResolvers<UnaryResponse<C[M]>>();
  const invoke = client[method] as unknown as UnaryMethod<unknown, UnaryResponse<C[M]>>;
  const metadata = settings.metadata ?? new Metadata();
  const call = invoke.call(client, request, metadata, deadline(settings), (error, response) => {
    settings.signal?.removeEventListener("abort", cancel);
    if (error) reject(statusErrorFrom(error));
    else resolve(response);
  }) as ClientUnaryCall;
  const { onTrailer } = settings;
  if (onTrailer !== undefined) call.on("status", ({ metadata }) => onTrailer(metadata));
  const cancel = (): void => call.cancel();
  settings.signal?.addEventListener("abort", cancel, { once: true });
  return promise;
}

export interface ConnectionWatch {
  /** Aborts when the connection is not there in time. */
  readonly signal: AbortSignal;
  isLate(): boolean;
  end(): void;
}

/**
 * Watches the connection that a call is to go over. The client library waits for one for as long as the call may take; a process that
 * stands still has its connections taken up by the kernel all the same.
 *
 * @param timeoutMs milliseconds; undefined waits for ever
 */
export function watchConnection(client: Client, timeoutMs: number | undefined): ConnectionWatch {
  const controller = new AbortController();
  const { signal } = controller;
  const look = (): void => {
    const state = client.getChannel().getConnectivityState(false);
    if (state !== connectivityState.READY) controller.abort();
  };
  const timer = timeoutMs === undefined ? undefined : systemClock.after(timeoutMs, look);
  return { signal, isLate: () => signal.aborted, end: () => timer?.cancel() };
}

function cancelled(): StatusError {
  return new StatusError(StatusCode.CANCELLED, "the call was cancelled");
}

/** The call option that ends a call after so many milliseconds; undefined sets no end. */
export function deadline({ timeoutMs }: Pick<CallSettings, "timeoutMs">): Partial<CallOptions> {
  return timeoutMs === undefined ? {} : { deadline: new Date(systemClock.nowMs() + timeoutMs) };
}

/** A readable call of grpc-js, as far as we use it. */
interface ReadableCall<R> extends AsyncIterable<R> {
  cancel(): void;
}

/** Reads the messages of a streaming call one by one. @throws StatusError when the stream fails */
export async function* readStream<R>(
  call: ReadableCall<R>,
  signal?: AbortSignal,
): AsyncGenerator<R> {
  const cancel = (): void => call.cancel();
  if (signal?.aborted) cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    yield* call;
  } catch (error) {
    throw error instanceof Error && "code" in error
      ? statusErrorFrom(error as ServiceError)
      : error;
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

interface DuplexCall<Q, R> extends ReadableCall<R> {
  write(request: Q): boolean;
  end(): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** A conversation with the server: write a request, wait for an answer. */
export interface Conversation<Q, R> {
  send(request: Q): void;
  /** The next answer, or undefined when the server has ended the stream. @throws StatusError */
  receive(): Promise<R | undefined>;
  /** Says that nothing further comes. */
  finish(): void;
  cancel(): void;
}

/** Opens a conversation over a bidirectional call: `openBidi((m, o) => client.attestAgent(m, o), { timeoutMs })`. */
export function openBidi<Q, R>(
  open: (metadata: Metadata, options: Partial<CallOptions>) => DuplexCall<Q, R>,
  settings: CallSettings = {},
): Conversation<Q, R> {
  const call = open(settings.metadata ?? new Metadata(), deadline(settings));
  // The error reaches whoever waits in receive(); without a listener it would end the process.
  call.on("error", () => {});
  const answers = readStream<R>(call, settings.signal);
  return {
    send: (request) => void call.write(request),
    receive: async () => {
      const next = await answers.next();
      return next.done ? undefined : next.value;
    },
    finish: () => void call.end(),
    cancel: () => call.cancel(),
  };
}
