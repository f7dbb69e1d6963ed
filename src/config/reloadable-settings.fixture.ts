/** The keys of a table that count at once, for tests that compare them with the documentation. */
export function reloadableSettings(table: object): string[] {
  return Object.values(table)
    .flatMap(
      (node: { readonly name?: string; readonly isLive?: (...values: unknown[]) => boolean }) => {
        if (node.isLive === undefined) return reloadableSettings(node);
        const disk = { name: "disk" };
        return node.isLive(disk, disk) && node.name !== undefined ? [node.name] : [];
      },
    )
    .sort();
}
