import type { ServerSurfaceCall } from "@grpc/grpc-js/build/src/server-call";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { UnixPeer } from "./peer.ts";

/** The other end of a connection. Certificates are as they came: nothing about them is verified yet. */
export type Caller =
  | { readonly kind: "unix"; readonly peer: UnixPeer }
  | {
      readonly kind: "tls";
      readonly remoteAddress: string;
      /** DER, leaf first; empty when the client sent none. */
      readonly certificates: readonly Uint8Array[];
    };

/**
 * The callers of the open connections. gRPC tells a handler of its connection just the peer's address, so each accepted socket
 * gets a name of its own in that place.
 */
export class Callers {
  readonly #byName = new Map<string, Caller>();
  #count = 0;

  /** Names the socket and remembers its caller until the socket closes. */
  attach(socket: NodeJS.EventEmitter, caller: Caller): void {
    const name = `caller-${++this.#count}`;
    Object.defineProperty(socket, "remoteAddress", { value: name, configurable: true });
    Object.defineProperty(socket, "remotePort", { value: undefined, configurable: true });
    this.#byName.set(name, caller);
    socket.once("close", () => {
      this.#byName.delete(name);
      if (caller.kind === "unix") caller.peer.close();
    });
  }

  /** @throws StatusError UNAVAILABLE when the connection closed meanwhile */
  of(call: Pick<ServerSurfaceCall, "getPeer">): Caller {
    const caller = this.#byName.get(call.getPeer());
    if (caller === undefined) throw new StatusError(StatusCode.UNAVAILABLE, "connection is closed");
    return caller;
  }
}
