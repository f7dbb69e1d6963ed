/** More entries than this are not worth listing: a synchronisation then tells the agent the same with less. */
const MAX_ENTRIES = 500;

/** What a watcher has to hear. */
export interface Pending {
  readonly everything: boolean;
  /** Each once. Which entries changed, not how: what they are now is looked up when it is told. */
  readonly entryIds: readonly string[];
  readonly bundles: readonly string[];
}

/**
 * What one watcher has not heard yet. It holds names only, so that any number of changes of one thing is one change, and what
 * a watcher costs that does not listen is bounded.
 */
export class PendingChanges {
  #everything = false;
  /** Lists that all watchers of a change share. */
  #entries: (readonly string[])[] = [];
  #entryCount = 0;
  readonly #bundles: Set<string> = new Set();

  get isEmpty(): boolean {
    return !this.#everything && this.#entryCount === 0 && this.#bundles.size === 0;
  }

  /** @param ids kept as it is: it must not change any more */
  addEntries(ids: readonly string[]): void {
    if (this.#everything) return;
    this.#entries.push(ids);
    this.#entryCount += ids.length;
    // Twice as many, so that a busy few entries are not sorted out again with each change.
    if (this.#entryCount > 2 * MAX_ENTRIES) this.#compact();
  }

  addBundles(names: readonly string[]): void {
    if (this.#everything) return;
    for (const name of names) this.#bundles.add(name);
    if (this.#bundles.size > MAX_ENTRIES) this.addEverything();
  }

  addEverything(): void {
    this.#clear();
    this.#everything = true;
  }

  /** Hands out what there is, and is empty then. */
  take(): Pending {
    this.#compact();
    const pending: Pending = {
      everything: this.#everything,
      entryIds: this.#entries.flat(),
      bundles: [...this.#bundles],
    };
    this.#clear();
    return pending;
  }

  #compact(): void {
    const ids = [...new Set(this.#entries.flat())];
    if (ids.length > MAX_ENTRIES) {
      this.addEverything();
    } else {
      this.#entries = [ids];
      this.#entryCount = ids.length;
    }
  }

  #clear(): void {
    this.#everything = false;
    this.#entries = [];
    this.#entryCount = 0;
    this.#bundles.clear();
  }
}
