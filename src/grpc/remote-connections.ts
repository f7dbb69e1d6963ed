/**
 * The connections of a port that anybody can reach, so that nobody can take them all. Strangers need theirs for moments, to attest or to ask
 * for the trust bundle; a caller that has shown who it is keeps its own, and a whole site behind one address may have thousands of those.
 */
import type { Socket } from "node:net";
import { sourceOf } from "./remote-source.ts";

export interface RemoteConnectionLimits {
  /** Of all sources together. */
  readonly connections: number;
  /** Of one IPv4 address, or one IPv6 network of 64 bits. */
  readonly perSource: number;
  /** Of those, the ones whose callers have not shown who they are. */
  readonly strangersPerSource: number;
}

export interface RemoteConnectionsOptions {
  readonly limits: RemoteConnectionLimits;
  /** Told of each connection that had to go. @param why for the log */
  readonly closed: (source: string, why: string) => void;
}

/** The connections of one source, oldest first. */
interface Source {
  readonly name: string;
  readonly strangers: Set<Connection>;
  readonly known: Set<Connection>;
}

interface Connection {
  readonly socket: Socket;
  readonly source: Source;
}

export class RemoteConnections {
  readonly #options: RemoteConnectionsOptions;
  readonly #sources = new Map<string, Source>();
  /** By both ends' address and port, as TLS may put another socket around the one that was accepted. */
  readonly #byName = new Map<string, Connection>();

  constructor(options: RemoteConnectionsOptions) {
    this.#options = options;
  }

  /**
   * Counts a connection until it closes. Where there are too many, the oldest of a stranger goes; every connection begins as a stranger's.
   *
   * @param address where its client is
   */
  add(socket: Socket, address: string): void {
    const name = nameOf(socket);
    const source = this.#source(sourceOf(address));
    const connection = { socket, source };
    source.strangers.add(connection);
    this.#byName.set(name, connection);
    socket.once("close", () => {
      if (this.#byName.get(name) === connection) this.#byName.delete(name);
      source.strangers.delete(connection);
      source.known.delete(connection);
      if (sizeOf(source) === 0 && this.#sources.get(source.name) === source) {
        this.#sources.delete(source.name);
      }
    });
    this.#makeRoom(source);
  }

  /** @returns to be called when the caller of the connection has shown who it is */
  recognizer(socket: Socket): () => void {
    const connection = this.#byName.get(nameOf(socket));
    return () => {
      if (connection?.source.strangers.delete(connection) === true) {
        connection.source.known.add(connection);
      }
    };
  }

  #source(name: string): Source {
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const source = { name, strangers: new Set<Connection>(), known: new Set<Connection>() };
    this.#sources.set(name, source);
    return source;
  }

  #makeRoom(source: Source): void {
    const { connections, perSource, strangersPerSource } = this.#options.limits;
    if (source.strangers.size > strangersPerSource || sizeOf(source) > perSource) {
      this.#close(source, "too many connections of one address");
    } else if (this.#byName.size > connections) {
      this.#close(this.#heaviest(), "too many connections");
    }
  }

  /** The source with the most connections of strangers. */
  #heaviest(): Source | undefined {
    let found: Source | undefined;
    for (const source of this.#sources.values()) {
      if (source.strangers.size > (found?.strangers.size ?? 0)) found = source;
    }
    return found;
  }

  #close(source: Source | undefined, why: string): void {
    const [oldest] = source?.strangers ?? [];
    if (source === undefined || oldest === undefined) return;
    source.strangers.delete(oldest);
    oldest.socket.destroy();
    this.#options.closed(source.name, why);
  }
}

function sizeOf({ strangers, known }: Source): number {
  return strangers.size + known.size;
}

/** No two connections that are open have the same. */
export function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
