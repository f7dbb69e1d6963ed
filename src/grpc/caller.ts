import type { Http2Session } from "node:http2";
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

/** The callers of the open connections: gRPC tells a handler no more of its connection than an address. */
export class Callers {
  readonly #bySession: WeakMap<
    Http2Session,
    { readonly caller: Caller; readonly onCall: () => void }
  > = new WeakMap();

  /**
   * Remembers the caller until the socket closes.
   *
   * @param session what the HTTP/2 stack made of the socket; undefined when it takes no more
   * @param onCall is told of each of its calls
   */
  attach(
    session: Http2Session | undefined,
    socket: NodeJS.EventEmitter,
    caller: Caller,
    onCall: () => void,
  ): void {
    if (session !== undefined) this.#bySession.set(session, { caller, onCall });
    socket.once("close", () => {
      if (session !== undefined) this.#bySession.delete(session);
      if (caller.kind !== "unix") return;
      caller.peer.close();
      caller.share.close();
    });
  }

  /**
   * @param session of a call; undefined when its connection is gone
   * @throws StatusError UNAVAILABLE when the connection closed meanwhile
   */
  of(session: Http2Session | undefined): Caller {
    const found = session === undefined ? undefined : this.#bySession.get(session);
    if (found === undefined) throw new StatusError(StatusCode.UNAVAILABLE, "connection is closed");
    found.onCall();
    return found.caller;
  }
}
