/** Entries created, updated and deleted in batches over several connections at once. */
import { callUnary } from "#grpc/client.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import type { Clients } from "#server/server.fixture.ts";
import { TRUST_DOMAIN } from "../support/spire.ts";
import type { Chance } from "./chance.ts";
import { contentOf, EntryLedger } from "./entry-ledger.ts";
import type { Lifetime, Load } from "./lifetime.ts";

const WORKERS = 4;
/** Of a worker: with more it rather deletes, with fewer it rather creates. */
const ENTRIES = 40;
const MAX_BATCH = 20;
/** Entries that all workers update at once, and nobody deletes. */
const SHARED = ["shared-0", "shared-1", "shared-2"];

export class EntryLoad implements Load {
  readonly #ledger: EntryLedger = new EntryLedger();
  readonly #workers: readonly Chance[];
  readonly #counts: { created: number; updated: number; deleted: number } = {
    created: 0,
    updated: 0,
    deleted: 0,
  };
  #next = 0;

  constructor(chance: Chance) {
    this.#workers = Array.from({ length: WORKERS }, () => chance.fork());
  }

  /** How many changes were acknowledged. */
  get counts(): Readonly<Record<string, number>> {
    return this.#counts;
  }

  async work(life: Lifetime): Promise<void> {
    const living = new Set(this.#ledger.living());
    const missing = SHARED.filter((id) => !living.has(id));
    await this.#create(life, life.local(), missing, this.#workers[0]!);
    await Promise.all(this.#workers.map((chance, worker) => this.#workAs(worker, chance, life)));
  }

  async check(life: Lifetime): Promise<readonly string[]> {
    const listed = await life.ask("list entries", () =>
      callUnary(life.local().entry, "listEntries", {
        filter: undefined,
        outputMask: undefined,
        pageSize: 0,
        pageToken: "",
      }),
    );
    return this.#ledger.compare(listed?.entries ?? []);
  }

  async #workAs(worker: number, chance: Chance, life: Lifetime): Promise<void> {
    const clients = life.local();
    while (!life.isOver) {
      const mine = this.#ledger.living().filter((id) => id.startsWith(`${worker}-`));
      const size = 1 + chance.below(MAX_BATCH);
      const start = chance.below(mine.length + 1);
      const some = mine.slice(start, start + size);
      const dice = chance.fraction();
      if (dice < 0.4) {
        await this.#update(life, clients, [...some, chance.pick(SHARED)!], chance);
      } else if (chance.below(2 * ENTRIES) < mine.length) {
        await this.#delete(life, clients, some);
      } else {
        const ids = Array.from({ length: size }, () => `${worker}-${this.#next++}`);
        await this.#create(life, clients, ids, chance);
      }
    }
  }

  async #create(
    life: Lifetime,
    { entry: client }: Clients,
    ids: readonly string[],
    chance: Chance,
  ): Promise<void> {
    const entries = ids.map((id) => someEntry(id, chance));
    const settle = entries.map((entry) => this.#ledger.ask(entry.id, contentOf(entry)));
    const answer = await life.ask("create entries", () =>
      callUnary(client, "batchCreateEntry", { entries, outputMask: undefined }),
    );
    for (const [index, { status, entry }] of (answer?.results ?? []).entries()) {
      if (entry === undefined) life.faults.push(`create entry: ${status?.message}`);
      else settle[index]?.(entry);
    }
    this.#counts.created += answer?.results.length ?? 0;
  }

  async #update(
    life: Lifetime,
    { entry: client }: Clients,
    ids: readonly string[],
    chance: Chance,
  ): Promise<void> {
    const entries = ids.map((id) => someEntry(id, chance));
    const settle = entries.map((entry) => this.#ledger.ask(entry.id, contentOf(entry)));
    const answer = await life.ask("update entries", () =>
      callUnary(client, "batchUpdateEntry", {
        entries,
        inputMask: undefined,
        outputMask: undefined,
      }),
    );
    for (const [index, { status, entry }] of (answer?.results ?? []).entries()) {
      if (entry === undefined) life.faults.push(`update entry: ${status?.message}`);
      else settle[index]?.(entry);
    }
    this.#counts.updated += answer?.results.length ?? 0;
  }

  async #delete(life: Lifetime, { entry: client }: Clients, ids: readonly string[]): Promise<void> {
    const settle = ids.map((id) => this.#ledger.ask(id, undefined));
    const answer = await life.ask("delete entries", () =>
      callUnary(client, "batchDeleteEntry", { ids: [...ids] }),
    );
    for (const [index, { status }] of (answer?.results ?? []).entries()) {
      if (status?.code !== 0) life.faults.push(`delete entry: ${status?.message}`);
      else settle[index]?.("deleted");
    }
    this.#counts.deleted += answer?.results.length ?? 0;
  }
}

function someEntry(id: string, chance: Chance): Entry {
  const selectors = Array.from({ length: 1 + chance.below(4) }, (_, index) => ({
    type: "unix",
    value: `uid:${10 * index + chance.below(10)}`,
  }));
  return Entry.fromPartial({
    id,
    spiffeId: { trustDomain: TRUST_DOMAIN, path: `/workload/${id}/${chance.below(1000)}` },
    parentId: { trustDomain: TRUST_DOMAIN, path: `/node/${chance.below(3)}` },
    selectors,
    x509SvidTtl: 60 + chance.below(1000),
    hint: `hint ${chance.below(1000)}`,
    dnsNames: [`host-${chance.below(1000)}.test`],
  });
}
