import type { ServerSurfaceCall } from "@grpc/grpc-js/build/src/server-call";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { UnixPeer } from "./peer.ts";
import type { ConnectionShare } from "./user-shares.ts";

/** The other end of a connection. Certificates are as they came: nothing about them is verified yet. */
export type Caller =
  | {
      readonly kind: "unix";
      readonly peer: UnixPeer;
      /** What the connection counts for its user. */
      readonly share: ConnectionShare;
    }
  | {
      readonly kind: "tls";
      readonly remoteAddress: string;
      /** DER, leaf first; empty when the client sent none. */
      readonly certificates: readonly Uint8Array[];
      /** To be called when it has shown who it is: its connection is kept then when others have to go. */
      readonly isKnown: () => void;
      /** Closes the connection, once the answer under way has had the time to leave. */
      readonly hangUp: () => void;
    };

/**
 * The callers of the open connections. gRPC tells a handler of its connection just the peer's address, so each accepted socket
 * gets a name of its own in that place.
 */
export class Callers {
  readonly #byName = new Map<string, { readonly caller: Caller; readonly onCall: () => void }>();
  #count = 0;

  /** Names the socket and remembers its caller until the socket closes. @param onCall is told of each of its calls */
  attach(socket: NodeJS.EventEmitter, caller: Caller, onCall: () => void): void {
    const name = `caller-${++this.#count}`;
    Object.defineProperty(socket, "remoteAddress", { value: name, configurable: true });
    Object.defineProperty(socket, "remotePort", { value: undefined, configurable: true });
    this.#byName.set(name, { caller, onCall });
    socket.once("close", () => {
      this.#byName.delete(name);
      if (caller.kind !== "unix") return;
      caller.peer.close();
      caller.share.close();
    });
  }

  /** @throws StatusError UNAVAILABLE when the connection closed meanwhile */
  of(call: Pick<ServerSurfaceCall, "getPeer">): Caller {
    const found = this.#byName.get(call.getPeer());
    if (found === undefined) throw new StatusError(StatusCode.UNAVAILABLE, "connection is closed");
    found.onCall();
    return found.caller;
  }
}
