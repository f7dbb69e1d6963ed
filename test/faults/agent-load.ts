/**
 * Entries of one agent that come, change and go without a pause, and the ledger that tells which of them a workload may be served at a
 * moment. Every version of an entry has a SPIFFE ID of its own.
 */
import { callUnary } from "#grpc/client.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import type { Clients } from "#server/server.fixture.ts";
import { TRUST_DOMAIN } from "../support/spire.ts";
import type { Chance } from "./chance.ts";

const ENTRIES = 12;
const LONGEST_PAUSE_MS = 30;
/** A workload that nobody is. */
const ELSE = "uid:4711";

/** One version of an entry, as long as it is the last. Times are milliseconds of the test's clock. */
interface Version {
  readonly path: string;
  /** Nobody can have heard of it before. */
  readonly askedAt: number;
  /** When the server had acknowledged that it is no more. */
  endedAt: number;
}

export class AgentLoad {
  readonly #chance: Chance;
  readonly #parentPath: string;
  readonly #clients: Clients;
  readonly #selector: string;
  /** The last version of each entry that is there, by entry ID. */
  readonly #living: Map<string, Version> = new Map();
  /** Every version there ever was, by SPIFFE ID path. */
  readonly #versions: Map<string, Version> = new Map();
  readonly #over: AbortController = new AbortController();
  /** Entry IDs that only `mark` touches. */
  readonly #markers: Set<string> = new Set();
  #next = 0;
  #changes = 0;

  /** @param uid of the workload */
  constructor(chance: Chance, clients: Clients, parentPath: string, uid: number) {
    this.#chance = chance;
    this.#clients = clients;
    this.#parentPath = parentPath;
    this.#selector = `uid:${uid}`;
  }

  /** How many changes the server acknowledged. */
  get changes(): number {
    return this.#changes;
  }

  /** Goes on until stopped. */
  async run(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const dice = this.#chance.fraction();
      const id = this.#chance.pick(
        [...this.#living.keys()].filter((one) => !this.#markers.has(one)),
      );
      if (id === undefined || (dice < 0.5 && this.#living.size < ENTRIES)) {
        await this.#create(this.#newId());
      } else if (dice < 0.75) await this.#update(id);
      else await this.#delete(id);
      await Bun.sleep(this.#chance.between(0, LONGEST_PAUSE_MS));
    }
  }

  stop(): void {
    this.#over.abort();
  }

  /**
   * Makes an entry that stays until the next one is made. Who serves it has heard of all that was acknowledged before.
   *
   * @returns its SPIFFE ID path
   */
  async mark(): Promise<string> {
    const past = [...this.#markers];
    const id = this.#newId();
    this.#markers.add(id);
    const { path } = await this.#create(id);
    for (const one of past) {
      await this.#delete(one);
      this.#markers.delete(one);
    }
    return path;
  }

  /**
   * @param paths of the SPIFFE IDs that were served together
   * @param since what had ended by then may not be served in any case
   * @returns those of them that may not be served
   */
  wrong(paths: readonly string[], since: number): string[] {
    const versions = paths.map((path) => this.#versions.get(path));
    const heardOf = Math.max(since, ...versions.map((version) => version?.askedAt ?? 0));
    return paths.filter((_, index) => (versions[index]?.endedAt ?? 0) < heardOf);
  }

  #newId(): string {
    return `${this.#parentPath.split("/").at(-1)}-${this.#next++}`;
  }

  async #create(id: string): Promise<Version> {
    const version = this.#version();
    const { results } = await callUnary(this.#clients.entry, "batchCreateEntry", {
      entries: [this.#entry(id, version.path, this.#selector)],
      outputMask: undefined,
    });
    this.#acknowledged(results);
    this.#living.set(id, version);
    return version;
  }

  /** Another SPIFFE ID, or for a while the SVID is somebody else's. */
  async #update(id: string): Promise<void> {
    const version = this.#version();
    const selector = this.#chance.fraction() < 0.3 ? ELSE : this.#selector;
    if (selector === ELSE) version.endedAt = 0;
    const { results } = await callUnary(this.#clients.entry, "batchUpdateEntry", {
      entries: [this.#entry(id, version.path, selector)],
      inputMask: undefined,
      outputMask: undefined,
    });
    this.#acknowledged(results);
    this.#end(id);
    this.#living.set(id, version);
  }

  async #delete(id: string): Promise<void> {
    const request = { ids: [id] };
    const { results } = await callUnary(this.#clients.entry, "batchDeleteEntry", request);
    this.#acknowledged(results);
    this.#end(id);
    this.#living.delete(id);
  }

  #version(): Version {
    const path = `/workload/${this.#newId()}`;
    const version = { path, askedAt: performance.now(), endedAt: Number.POSITIVE_INFINITY };
    this.#versions.set(path, version);
    return version;
  }

  #end(id: string): void {
    const version = this.#living.get(id);
    if (version !== undefined) version.endedAt = performance.now();
  }

  #acknowledged(results: readonly { readonly status?: { code: number } | undefined }[]): void {
    if (results[0]?.status?.code !== 0) throw new Error(JSON.stringify(results));
    this.#changes += 1;
  }

  #entry(id: string, path: string, selector: string): Entry {
    return Entry.fromPartial({
      id,
      spiffeId: { trustDomain: TRUST_DOMAIN, path },
      parentId: { trustDomain: TRUST_DOMAIN, path: this.#parentPath },
      selectors: [{ type: "unix", value: selector }],
    });
  }
}
