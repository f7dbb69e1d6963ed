/**
 * What both listeners share: a gRPC server that is handed accepted connections, with the limits that keep a stranger from costing
 * more than a connection is worth.
 */

import type { Duplex } from "node:stream";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import type { BoundService } from "./bind.ts";
import { type Caller, Callers } from "./caller.ts";

/** The largest message taken, in bytes; the reference's gRPC has the same limit. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_STREAMS_PER_CONNECTION = 1000;

export interface GrpcListener {
  /** `host:port`, or the path of the socket. */
  readonly address: string;
  /** Takes no more connections, lets calls under way end, and after that many milliseconds ends them. */
  close(graceMs: number): Promise<void>;
}

export interface Injector {
  /** Hands an accepted connection over. */
  inject(socket: Duplex, caller: Caller): void;
  close(graceMs: number): Promise<void>;
}

/** Makes the gRPC server behind a listener. */
export function createInjector(
  services: readonly BoundService[],
  options: ServerOptions = {},
): Injector {
  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": -1,
    "grpc.max_metadata_size": MAX_HEADER_BYTES,
    "grpc.max_concurrent_streams": MAX_STREAMS_PER_CONNECTION,
    "grpc.enable_channelz": 0,
    ...options,
  });
  const callers = new Callers();
  for (const service of services) server.addService(service.definition, service.implement(callers));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    inject: (socket, caller) => {
      // Without a listener a connection that breaks would end the process.
      socket.on("error", () => {});
      callers.attach(socket, caller);
      injector.injectConnection(socket);
    },
    close: (graceMs) => closeServer(server, graceMs),
  };
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.tryShutdown(() => resolve());
  const timer = AbortSignal.timeout(Math.max(1, graceMs));
  timer.addEventListener("abort", () => {
    server.forceShutdown();
    resolve();
  });
  return promise;
}
