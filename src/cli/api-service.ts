/** Typed calls of a gRPC service over a local socket, for commands. Loaded only when a command first needs a connection. */
import { type CallOptions, type Client, type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { systemClock } from "#clock/clock.ts";
import {
  type Channel,
  type ConnectionWatch,
  callUnary,
  readStream,
  type UnaryRequest,
  type UnaryResponse,
  unixChannel,
  watchConnection,
} from "#grpc/client.ts";
import { OwnedSocketCredentials } from "#grpc/owned-socket.ts";
import { type Daemon, explainDial } from "./rpc-error.ts";

/** Calls one unary method by its name. @throws StatusError, worded as the reference's command line does */
export type Service<C> = <M extends keyof C & string>(
  method: M,
  request: UnaryRequest<C[M]>,
  onTrailer?: (trailer: Metadata) => void,
) => Promise<UnaryResponse<C[M]>>;

/** Reads the answers of a streaming call; ends with the stream, or throws a StatusError. */
export type StreamService<C> = <R>(
  open: (client: C, metadata: Metadata, options: Partial<CallOptions>) => ClientReadableStream<R>,
) => AsyncIterable<R>;

export interface ApiClient<C> {
  readonly call: Service<C>;
  readonly stream: StreamService<C>;
}

export interface Services {
  /** A service on the socket, by its generated client class. */
  of<C extends Client>(ClientClass: ClientClass<C>): ApiClient<C>;
  close(): void;
}

type ClientClass<C> = new (
  ...channel: [Channel["address"], Channel["credentials"], Channel["options"]]
) => C;

export interface ServicesOptions {
  readonly path: string;
  /** Whose socket it is, for messages. */
  readonly daemon: Daemon;
  /** Where nobody named the path: the user who may listen there, beside root and this one. */
  readonly owner?: string | undefined;
  /** How long an answer, or a whole stream, may take; undefined waits for ever. */
  readonly timeoutMs?: number;
  /** How long it may take until the daemon takes up the connection; `timeoutMs` alone counts when absent. */
  readonly connectTimeoutMs?: number;
  /** Sent with every call. */
  readonly metadata?: Metadata;
}

/** A daemon that is at work takes up a connection at once; whoever waits longer waits for one that is stuck. */
export const CONNECT_TIMEOUT_MS = 5_000;

/** Prepares the services behind a socket; nothing connects before the first call. */
export function openServices(options: ServicesOptions): Services {
  const { path, owner, daemon, connectTimeoutMs, ...settings } = options;
  const owned = owner === undefined ? undefined : new OwnedSocketCredentials(path, owner);
  const channel = unixChannel(path, owned);
  const clients: Client[] = [];
  const watched = (client: Client): ConnectionWatch => watchConnection(client, connectTimeoutMs);
  const explain = async (error: unknown, { isLate }: ConnectionWatch): Promise<unknown> => {
    const timeoutMs = isLate() ? connectTimeoutMs : settings.timeoutMs;
    return owned?.refusal ?? (await explainDial(error, path, daemon, timeoutMs));
  };
  return {
    of: (ClientClass) => {
      const client = new ClientClass(channel.address, channel.credentials, channel.options);
      clients.push(client);
      return {
        call: async (method, request, onTrailer = () => {}) => {
          const watch = watched(client);
          try {
            const { signal } = watch;
            return await callUnary(client, method, request, { ...settings, signal, onTrailer });
          } catch (error) {
            throw await explain(error, watch);
          } finally {
            watch.end();
          }
        },
        stream: async function* (open) {
          const metadata = settings.metadata ?? new Metadata();
          const watch = watched(client);
          try {
            const call = open(client, metadata, deadline(settings.timeoutMs));
            yield* readStream(call, watch.signal);
          } catch (error) {
            throw await explain(error, watch);
          } finally {
            watch.end();
          }
        },
      };
    },
    close: () => {
      for (const client of clients) client.close();
    },
  };
}

function deadline(timeoutMs: number | undefined): Partial<CallOptions> {
  if (timeoutMs === undefined) return {};
  return { deadline: new Date(systemClock.nowMs() + timeoutMs) };
}
