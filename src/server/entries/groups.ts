/** Items by key and, within a key, by ID. Empty groups are dropped, so that what is gone takes no memory. */
export class Groups<Item> {
  readonly #groups: Map<string, Map<string, Item>> = new Map();

  of(key: string): Iterable<Item> {
    return this.#groups.get(key)?.values() ?? [];
  }

  size(key: string): number {
    return this.#groups.get(key)?.size ?? 0;
  }

  add(key: string, id: string, item: Item): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, new Map([[id, item]]));
    else group.set(id, item);
  }

  remove(key: string, id: string): void {
    const group = this.#groups.get(key);
    group?.delete(id);
    if (group?.size === 0) this.#groups.delete(key);
  }
}
