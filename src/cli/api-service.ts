/** Typed calls of a gRPC service over a local socket, for commands. Loaded only when a command first needs a connection. */
import { type CallOptions, type Client, type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import {
  type Channel,
  callUnary,
  readStream,
  type UnaryRequest,
  type UnaryResponse,
  unixChannel,
} from "#grpc/client.ts";
import { OwnedSocketCredentials } from "#grpc/owned-socket.ts";
import { explainDial } from "./rpc-error.ts";

/** Calls one unary method by its name. @throws StatusError, worded as the reference's command line does */
export type Service<C> = <M extends keyof C & string>(
  method: M,
  request: UnaryRequest<C[M]>,
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
  /** The path as error messages show it. */
  readonly shownPath: string;
  /** Where nobody named the path: the user who may listen there, beside root and this one. */
  readonly owner?: string | undefined;
  /** How long an answer, or a whole stream, may take; undefined waits for ever. */
  readonly timeoutMs?: number;
  /** Sent with every call. */
  readonly metadata?: Metadata;
}

/** Prepares the services behind a socket; nothing connects before the first call. */
export function openServices({ path, shownPath, owner, ...settings }: ServicesOptions): Services {
  const owned = owner === undefined ? undefined : new OwnedSocketCredentials(path, owner);
  const channel = unixChannel(path, owned);
  const clients: Client[] = [];
  const explain = async (error: unknown): Promise<unknown> =>
    owned?.refusal ?? (await explainDial(error, path, shownPath));
  return {
    of: (ClientClass) => {
      const client = new ClientClass(channel.address, channel.credentials, channel.options);
      clients.push(client);
      return {
        call: async (method, request) => {
          try {
            return await callUnary(client, method, request, settings);
          } catch (error) {
            throw await explain(error);
          }
        },
        stream: async function* (open) {
          const metadata = settings.metadata ?? new Metadata();
          try {
            yield* readStream(open(client, metadata, deadline(settings.timeoutMs)));
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

function deadline(timeoutMs: number | undefined): Partial<CallOptions> {
  if (timeoutMs === undefined) return {};
  return { deadline: new Date(performance.timeOrigin + performance.now() + timeoutMs) };
}
