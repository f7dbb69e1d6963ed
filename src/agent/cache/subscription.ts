import type { CallerGroup } from "./callers.ts";
import type { WorkloadEntry } from "./workload-entry.ts";
import type { WorkloadX509Svid } from "./x509-svids.ts";

export interface Identity {
  readonly entry: WorkloadEntry;
  /** Undefined until it is issued. */
  readonly svid: WorkloadX509Svid | undefined;
  /** Whether the server would not issue one for the entry as it is now. */
  readonly isRefused: boolean;
}

/** One stream's view of the cache; dispose of it when the stream ends. */
export class Subscription implements Disposable {
  readonly #group: CallerGroup;
  readonly #read: () => readonly Identity[];
  readonly #leave: () => void;

  constructor(group: CallerGroup, read: () => readonly Identity[], leave: () => void) {
    this.#group = group;
    this.#read = read;
    this.#leave = leave;
  }

  /** The same object for all workloads that get the same; what is made for one can be kept by it. */
  get group(): object {
    return this.#group;
  }

  /** Grows with every change that concerns the workload. */
  get version(): number {
    return this.#group.version;
  }

  /** What the workload is, now. */
  identities(): readonly Identity[] {
    return this.#read();
  }

  /** Resolves when the version is no longer the given one, or when the signal aborts. */
  changedSince(version: number, signal: AbortSignal): Promise<void> {
    const { waiting } = this.#group;
    if (this.#group.version !== version || signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      waiting.delete(wake);
      signal.removeEventListener("abort", wake);
      resolve();
    };
    waiting.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    return promise;
  }

  [Symbol.dispose](): void {
    this.#leave();
  }
}
