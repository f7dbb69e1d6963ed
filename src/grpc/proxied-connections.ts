/** Connections that come through load balancers: those that are trusted say whom they carry, by the PROXY protocol. */
import { BlockList, createServer, isIPv6, type Server, type Socket } from "node:net";
import { systemClock, type Timer } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { readProxyHeader } from "./proxy-header.ts";
import { nameOf } from "./remote-connections.ts";

/** Networks that balancers are in. */
export class TrustedProxies {
  readonly #list: BlockList = new BlockList();
  readonly #cidrs: readonly string[];

  /** @param cidrs such as `10.0.0.0/8` @throws Error naming the one that is none */
  constructor(cidrs: readonly string[]) {
    this.#cidrs = cidrs;
    for (const cidr of cidrs) {
      const [, network = "", prefix = ""] = /^([^/]+)\/(\d{1,3})$/.exec(cidr) ?? [];
      try {
        this.#list.addSubnet(network, Number(prefix), isIPv6(network) ? "ipv6" : "ipv4");
      } catch {
        throw new Error(`${JSON.stringify(cidr)} is not a network, such as 10.0.0.0/8`);
      }
    }
  }

  /** As they are written. */
  toJSON(): readonly string[] {
    return this.#cidrs;
  }

  trusts(address: string): boolean {
    return this.#list.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  }
}

export interface ProxiedOptions {
  readonly trusted: TrustedProxies;
  /** Milliseconds that the header and what follows, until there is TLS, may take. */
  readonly handshakeMs: number;
  /** Takes connections from where their header ends. */
  readonly next: Server;
  readonly log: Log;
}

/** Connections by where they come from, and where from in truth. */
export class ProxiedConnections {
  readonly #carried: Map<string, string> = new Map();
  readonly #deadlines: Map<string, Timer> = new Map();
  readonly #options: ProxiedOptions;
  /** Listens in place of the one that takes the connections. */
  readonly server: Server;

  constructor(options: ProxiedOptions) {
    this.#options = options;
    this.server = createServer((socket) => this.#accept(socket));
  }

  /** TLS is there. @returns where the client is: what its balancer said, or where it comes from */
  established(socket: Socket): string {
    this.#deadlines.get(nameOf(socket))?.cancel();
    return this.addressOf(socket);
  }

  /** Where the client is, also of a connection that never gets as far as TLS. */
  addressOf(socket: Socket): string {
    return this.#carried.get(nameOf(socket)) ?? socket.remoteAddress ?? "";
  }

  #accept(socket: Socket): void {
    const { trusted, handshakeMs, next } = this.#options;
    const name = nameOf(socket);
    this.#deadlines.set(
      name,
      systemClock.after(handshakeMs, () => socket.destroy()),
    );
    socket.once("close", () => {
      this.#deadlines.get(name)?.cancel();
      this.#deadlines.delete(name);
      this.#carried.delete(name);
    });
    // Whoever else begins with a header begins no TLS, and gets no further.
    if (!trusted.trusts(socket.remoteAddress ?? "")) {
      next.emit("connection", socket);
      return;
    }
    let read = Buffer.alloc(0);
    const failed = (error: unknown): void => {
      this.#options.log.debug("Connection refused", { address: socket.remoteAddress, error });
      socket.destroy();
    };
    const take = (chunk: Buffer): void => {
      read = Buffer.concat([read, chunk]);
      try {
        const header = readProxyHeader(read);
        if (header.kind === "incomplete") return;
        socket.off("data", take);
        socket.off("error", failed);
        socket.pause();
        if (header.kind === "absent") this.#pass(socket, read, undefined);
        else this.#pass(socket, read.subarray(header.bytes), header.address);
      } catch (error) {
        failed(error);
      }
    };
    socket.on("data", take);
    socket.on("error", failed);
  }

  #pass(socket: Socket, first: Buffer, address: string | undefined): void {
    if (address !== undefined) this.#carried.set(nameOf(socket), address);
    if (first.length > 0) socket.unshift(first);
    this.#options.next.emit("connection", socket);
  }
}
