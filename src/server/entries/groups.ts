/** A group of one, which most groups are: a map for each would take more memory than all that is in them. */
class Single<Item> {
  readonly id: string;
  readonly item: Item;

  constructor(id: string, item: Item) {
    this.id = id;
    this.item = item;
  }
}

/** Items by key and, within a key, by ID. Empty groups are dropped, so that what is gone takes no memory. */
export class Groups<Item> {
  readonly #groups: Map<string, Single<Item> | Map<string, Item>> = new Map();

  of(key: string): Iterable<Item> {
    const group = this.#groups.get(key);
    if (group === undefined) return [];
    return group instanceof Single ? [group.item] : group.values();
  }

  size(key: string): number {
    const group = this.#groups.get(key);
    if (group === undefined) return 0;
    return group instanceof Single ? 1 : group.size;
  }

  add(key: string, id: string, item: Item): void {
    const group = this.#groups.get(key);
    if (group instanceof Map) {
      group.set(id, item);
    } else if (group === undefined || group.id === id) {
      this.#groups.set(key, new Single(id, item));
    } else {
      const both = new Map([
        [group.id, group.item],
        [id, item],
      ]);
      this.#groups.set(key, both);
    }
  }

  remove(key: string, id: string): void {
    const group = this.#groups.get(key);
    if (group instanceof Map) group.delete(id);
    const isEmpty = group instanceof Map ? group.size === 0 : group?.id === id;
    if (isEmpty) this.#groups.delete(key);
  }
}
