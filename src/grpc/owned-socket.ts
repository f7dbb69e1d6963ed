/**
 * A local socket whose owner is known before anything is sent to it. Where nobody named the socket, whoever was first to make the default path
 * could answer in the daemon's place: the one who listens must be root, this user, or the one that the packages have for it.
 */
import type { Socket } from "node:net";
import { ChannelCredentials } from "@grpc/grpc-js";
import { isNobodyElse, uidOf } from "#files/accounts.ts";
import { listenerUid } from "./peer.ts";

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type ConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;

/** The socket is in hands that may not have it; the message has the way out. */
export class ForeignSocketError extends Error {
  override readonly name: string = "ForeignSocketError";
}

/** Plain credentials for a Unix socket that refuse another listener. */
export class OwnedSocketCredentials extends ChannelCredentials {
  readonly #path: string;
  readonly #user: string;
  readonly #plain: ChannelCredentials = ChannelCredentials.createInsecure();
  #refusal: ForeignSocketError | undefined;

  /** @param user whose the socket may be beside root and this process's user; he need not exist */
  constructor(path: string, user: string) {
    super();
    this.#path = path;
    this.#user = user;
  }

  /** Why the last connection was refused; what the library makes of it says less. */
  get refusal(): ForeignSocketError | undefined {
    return this.#refusal;
  }

  override _isSecure(): boolean {
    return false;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...options: ConnectorArguments): SecureConnector {
    const connector = this.#plain._createSecureConnector(...options);
    return {
      connect: async (socket: Socket) => {
        this.#refusal = this.#judge(socket);
        if (this.#refusal === undefined) return await connector.connect(socket);
        socket.destroy();
        throw this.#refusal;
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }

  #judge(socket: Socket): ForeignSocketError | undefined {
    const uid = listenerUid(socket);
    if (uid !== undefined && (isNobodyElse(uid) || uid === uidOf(this.#user))) return undefined;
    const whose = uid === undefined ? "somebody unknown" : `user ${uid}`;
    return new ForeignSocketError(
      `${whose} listens on ${this.#path}, which nobody named, and is neither root nor you nor ${this.#user}: if that is the one you mean, name the socket (-socketPath)`,
    );
  }
}
