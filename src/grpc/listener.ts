/**
 * What both listeners share: a gRPC server that is handed accepted connections, with the limits that keep a stranger from costing
 * more than a connection is worth.
 */

import type {
  Http2Server,
  ServerOptions as Http2ServerOptions,
  ServerHttp2Session,
  ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import { systemClock } from "#clock/clock.ts";
import { injectWithAnyAuthority } from "./any-authority.ts";
import type { BoundService, CallObserver } from "./bind.ts";
import { type Caller, Callers } from "./caller.ts";
import { Doors } from "./doors.ts";
import { ResetLimit } from "./reset-limit.ts";

/** The largest message taken, in bytes; the reference's gRPC has the same limit. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

export interface GrpcListener {
  /** `host:port`, or the path of the socket. */
  readonly address: string;
  /** Takes no more connections, lets calls under way end, and after that many milliseconds ends them. */
  close(graceMs: number): Promise<void>;
}

/** The headers of a call are held to 64 KiB by the HTTP/2 stack itself. */
export interface ConnectionLimits {
  /** Calls at the same time on one connection; a client that opens more loses the connection. */
  readonly streams: number;
  /** Within that many milliseconds a connection must make its first call, or it is closed. */
  readonly firstCallMs: number;
  /** Within that many milliseconds a request that began must be there, or the call fails. */
  readonly requestMs: number;
  /** A connection whose calls have all ended is closed after that many milliseconds. */
  readonly idleMs: number;
  /** A connection takes no new calls after about that many milliseconds; undefined for ever. */
  readonly ageMs?: number;
  /** A client that does not answer a ping within as long again is dropped; undefined sends none. */
  readonly pingMs?: number;
}

export interface Injector {
  /** Hands an accepted connection over. */
  inject(socket: Socket, caller: Caller): void;
  close(graceMs: number): Promise<void>;
}

/** What a listener offers. */
export interface Offered {
  readonly services: readonly BoundService[];
  readonly observer?: CallObserver;
}

/** Makes the gRPC server behind a listener. */
export function createInjector(
  { services, observer }: Offered,
  limits: ConnectionLimits,
): Injector {
  const callers = new Callers();
  const doors = new Doors({ callers, observer, requestMs: limits.requestMs });
  const server = new Server({ ...optionsOf(limits), interceptors: [doors.interceptor] });
  for (const service of services) server.addService(service.definition, doors.open(service));
  const injector = connectionInjector(server);
  const open = new Set<Socket>();
  const silent = new Set<Socket>();
  return {
    inject: (socket, caller) => {
      // Without a listener a connection that breaks would end the process.
      socket.on("error", () => {});
      open.add(socket);
      // The socket itself cannot be asked: Bun reads for HTTP/2 past it, so its count of bytes stays 0.
      silent.add(socket);
      const deadline = systemClock.after(limits.firstCallMs, () => {
        if (silent.delete(socket)) socket.destroy();
      });
      socket.once("close", () => {
        open.delete(socket);
        silent.delete(socket);
        deadline.cancel();
      });
      const inject = () => injector.inject(socket);
      const session = caller.kind === "unix" ? injectWithAnyAuthority(socket, inject) : inject();
      callers.attach(session, socket, caller, () => silent.delete(socket));
    },
    close: async (graceMs) => {
      for (const socket of silent) socket.destroy();
      // Says goodbye to each client, whose calls under way may end.
      injector.drain(graceMs);
      await emptied(open, graceMs);
      for (const socket of open) socket.destroy();
      server.forceShutdown();
    },
  };
}

/** What grpc-js keeps to itself of a server: how it makes one for HTTP/2, and those it made. */
interface ServerInternals {
  readonly commonServerOptions: Http2ServerOptions;
  readonly http2Servers: ReadonlyMap<Http2Server, unknown>;
}

interface ConnectionInjector {
  /** @returns the session that the stack made of it; undefined when it is closing */
  inject(socket: Socket): ServerHttp2Session | undefined;
  drain(graceMs: number): void;
}

/** The HTTP/2 stack counts every reset as an attack; ours tells which ones are. */
function connectionInjector(server: Server): ConnectionInjector {
  const internals = server as unknown as ServerInternals;
  Object.assign(internals.commonServerOptions, NO_RESET_LIMIT);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const resets = new ResetLimit();
  let made: ServerHttp2Session | undefined;
  for (const http2 of internals.http2Servers.keys()) {
    http2.on("stream", (stream) => resets.watch(stream as ServerHttp2Stream));
    http2.on("session", (session) => {
      made = session;
    });
  }
  return {
    inject: (socket) => {
      made = undefined;
      injector.injectConnection(socket);
      return made;
    },
    drain: (graceMs) => injector.drain(graceMs),
  };
}

const NO_RESET_LIMIT = { streamResetBurst: 0x7fffffff, streamResetRate: 0x7fffffff };

/** Resolves when no connection is left, or after that many milliseconds. */
async function emptied(open: ReadonlySet<Socket>, graceMs: number): Promise<void> {
  const over = new AbortController();
  const look = (): void => {
    if (open.size === 0) over.abort();
  };
  for (const socket of open) socket.once("close", look);
  look();
  await systemClock.sleep(graceMs, over.signal);
}

function optionsOf({ streams, idleMs, ageMs, pingMs }: ConnectionLimits): ServerOptions {
  return {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": streams,
    "grpc.max_connection_idle_ms": idleMs,
    "grpc.enable_channelz": 0,
    ...(ageMs === undefined ? {} : { "grpc.max_connection_age_ms": ageMs }),
    ...(pingMs === undefined
      ? {}
      : { "grpc.keepalive_time_ms": pingMs, "grpc.keepalive_timeout_ms": pingMs }),
  };
}
