/** Typed calls of a gRPC service over a local socket, for commands. Loaded only when a command first needs a connection. */
import type {
  CallOptions,
  Client,
  ClientReadableStream,
  Metadata,
  ServiceError,
} from "@grpc/grpc-js";
import { callUnary, readStream, unixChannel } from "#grpc/client.ts";
import { explainDial } from "./rpc-error.ts";

type Unary<Q, R> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: R) => void,
) => unknown;

type Streaming<Q, R> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
) => ClientReadableStream<R>;

type RequestOf<F> = F extends Unary<infer Q, infer _R> ? Q : never;
type ResponseOf<F> = F extends Unary<infer _Q, infer R> ? R : never;
type StreamRequestOf<F> = F extends Streaming<infer Q, infer _R> ? Q : never;
type StreamResponseOf<F> = F extends Streaming<infer _Q, infer R> ? R : never;

/** Calls one unary method by its name. @throws StatusError, worded as the reference's command line does */
export type Service<C> = <M extends keyof C & string>(
  method: M,
  request: RequestOf<C[M]>,
) => Promise<ResponseOf<C[M]>>;

/** Reads the answers of one streaming method; ends with the stream, or throws a StatusError. */
export type StreamService<C> = <M extends keyof C & string>(
  method: M,
  request: StreamRequestOf<C[M]>,
) => AsyncIterable<StreamResponseOf<C[M]>>;

export interface ApiClient<C> {
  readonly call: Service<C>;
  readonly stream: StreamService<C>;
}

export interface Services {
  /** A service on the socket, by its generated client class. */
  of<C extends Client>(ClientClass: ClientClass<C>): ApiClient<C>;
  close(): void;
}

type Channel = ReturnType<typeof unixChannel>;
type ClientClass<C> = new (
  ...channel: [Channel["address"], Channel["credentials"], Channel["options"]]
) => C;

export interface ServicesOptions {
  readonly path: string;
  /** The path as error messages show it. */
  readonly shownPath: string;
  /** How long an answer may take; undefined waits for ever. */
  readonly timeoutMs?: number;
  /** Sent with every call. */
  readonly metadata?: Metadata;
}

/** Prepares the services behind a socket; nothing connects before the first call. */
export function openServices({ path, shownPath, ...callOptions }: ServicesOptions): Services {
  const channel = unixChannel(path);
  const clients: Client[] = [];
  const explain = (error: unknown): Promise<unknown> => explainDial(error, path, shownPath);
  return {
    of: (ClientClass) => {
      const client = new ClientClass(channel.address, channel.credentials, channel.options);
      clients.push(client);
      return {
        call: async (method, request) => {
          try {
            return await callUnary(client, method, request, callOptions);
          } catch (error) {
            throw await explain(error);
          }
        },
        stream: async function* (method, request) {
          try {
            yield* readStream(client, method, request, callOptions);
          } catch (error) {
            throw await explain(error);
          }
        },
      };
    },
    close: () => {
      for (const client of clients) client.close();
    },
  };
}
