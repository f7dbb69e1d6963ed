/** Snapshots in systemd's descriptor store: sealed memory, which lives on there while the agent is restarted, upgraded or has crashed. */
import { closeSync } from "node:fs";
import type { Log } from "#log/log.ts";
import type { DescriptorStore } from "#notify/descriptor-store.ts";
import { createSealedMemory, readSealedMemory } from "./sealed-memory.ts";
import { MAX_SNAPSHOT_BYTES, type SnapshotStore } from "./snapshot-store.ts";

/** Each snapshot has a name of its own, so that the new one is there before the old one goes. */
const NAME = /^workload-cache-(\d+)$/;

export class DescriptorSnapshots implements SnapshotStore {
  readonly place: string = "systemd's descriptor store";
  readonly #descriptors: DescriptorStore;
  readonly #log: Log;
  /** Names that may be in the store. */
  readonly #present: Set<string>;
  #last: number;

  constructor(descriptors: DescriptorStore, log: Log) {
    this.#descriptors = descriptors;
    this.#log = log;
    const names = this.#given().map(({ name }) => name);
    this.#present = new Set(names);
    this.#last = Math.max(0, ...names.map((name) => Number(NAME.exec(name)?.[1])));
  }

  /** Gives what there was once; the descriptors are closed then. */
  async load(): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    for (const { name, descriptor } of this.#given()) {
      try {
        found.push(await readSealedMemory(descriptor, MAX_SNAPSHOT_BYTES));
      } catch (error) {
        this.#log.warn("Ignoring a file descriptor stored by systemd", { name, error });
      } finally {
        closeSync(descriptor);
      }
    }
    return found;
  }

  async replace(snapshot: Uint8Array): Promise<void> {
    const old = [...this.#present];
    const name = `workload-cache-${++this.#last}`;
    const descriptor = await createSealedMemory(name, snapshot);
    try {
      this.#descriptors.add(name, descriptor);
    } finally {
      closeSync(descriptor);
    }
    this.#present.add(name);
    this.#remove(old);
  }

  async clear(): Promise<void> {
    this.#remove([...this.#present]);
  }

  #remove(names: readonly string[]): void {
    for (const name of names) {
      this.#descriptors.remove(name);
      this.#present.delete(name);
    }
  }

  #given() {
    return this.#descriptors.given.filter(({ name }) => NAME.test(name));
  }
}
