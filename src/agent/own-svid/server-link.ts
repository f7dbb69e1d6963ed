/** What ties the agent to its server: its SVID, the authorities it trusts, and the connection made of the two. */
import { type AgentSvid, identityOf } from "#agent/attestation/agent-svid.ts";
import { connectServer, type ServerClients } from "#agent/attestation/server-connection.ts";
import type { Clock } from "#clock/clock.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";

export interface ServerLinkParts {
  readonly address: ServerAddress;
  readonly clock: Clock;
  /** The names of the workload attestors, which the server's operator is told. */
  readonly attestors: readonly string[];
  /** Writes down SVID and bundle whenever one of them changed. */
  readonly save: (svid: AgentSvid | undefined, bundle: readonly Uint8Array[]) => Promise<void>;
}

/** A connection, from one change of the SVID or of the authorities to the next. */
export interface Connection {
  readonly clients: ServerClients;
  /** Aborted when another connection has taken its place. */
  readonly replaced: AbortSignal;
}

export class ServerLink {
  readonly #parts: ServerLinkParts;
  #svid: AgentSvid;
  #roots: readonly Uint8Array[];
  #areRootsSaved = true;
  #clients: ServerClients;
  #replaced: AbortController = new AbortController();

  constructor(parts: ServerLinkParts, svid: AgentSvid, roots: readonly Uint8Array[]) {
    this.#parts = parts;
    this.#svid = svid;
    this.#roots = roots;
    this.#clients = this.#connect();
  }

  get svid(): AgentSvid {
    return this.#svid;
  }

  /** The X.509 authorities to verify the server with, DER. */
  get roots(): readonly Uint8Array[] {
    return this.#roots;
  }

  get clients(): ServerClients {
    return this.#clients;
  }

  get connection(): Connection {
    return { clients: this.#clients, replaced: this.#replaced.signal };
  }

  /** A connection that shows no SVID, for attesting the node; close it afterwards. */
  connectAnonymously(roots: readonly Uint8Array[]): ServerClients {
    return connectServer(this.#parts.address, roots, undefined, this.#parts.clock);
  }

  /** Takes an SVID, with the authorities of its server. Written down before it is used: the server refuses the old one as soon as it has seen it. */
  async takeSvid(svid: AgentSvid, roots: readonly Uint8Array[]): Promise<void> {
    await this.#parts.save(svid, roots);
    this.#svid = svid;
    this.#roots = roots;
    this.#areRootsSaved = true;
    this.#reconnect();
  }

  /** Used at once, also where they cannot be written down: without them the agent might not know its server any more. */
  async takeRoots(roots: readonly Uint8Array[]): Promise<void> {
    if (roots.length === 0) return;
    const isSame =
      roots.length === this.#roots.length &&
      roots.every((root) => this.#roots.some((known) => Buffer.compare(known, root) === 0));
    if (!isSame) {
      this.#roots = roots;
      this.#areRootsSaved = false;
      this.#reconnect();
    }
    if (this.#areRootsSaved) return;
    await this.#parts.save(this.#svid, roots);
    this.#areRootsSaved = true;
  }

  /** Throws the SVID away that the server does not take any more. */
  async dropSvid(): Promise<void> {
    await this.#parts.save(undefined, this.#roots);
  }

  /** Nothing takes its place: calls that fail by it are not to be made again. */
  close(): void {
    this.#clients.close();
  }

  /** Calls under way on the old connection end by themselves; streams have to be opened anew. */
  #reconnect(): void {
    const { clients: old } = this;
    this.#clients = this.#connect();
    this.#replaced.abort();
    this.#replaced = new AbortController();
    old.close();
  }

  #connect(): ServerClients {
    const { address, attestors, clock } = this.#parts;
    return connectServer(address, this.#roots, identityOf(this.#svid), clock, attestors);
  }
}
