/** Only the flags that were on the command line: what the rest of the configuration says stays open. */
export function pickGiven<V extends object>(values: V, given: ReadonlySet<string>): Partial<V> {
  const entries = Object.entries(values).filter(([name]) => given.has(name));
  return Object.fromEntries(entries) as Partial<V>;
}
