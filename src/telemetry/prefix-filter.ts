/** Which metrics an operator wants, told by the first parts of their names. */
export class PrefixFilter {
  readonly #verdicts: readonly (readonly [prefix: string, allowed: boolean])[];

  /** Both lists hold names with dots between their parts, the service's name first. */
  constructor(allowed: readonly string[], blocked: readonly string[]) {
    this.#verdicts = [
      ...allowed.map((prefix) => [prefix, true] as const),
      ...blocked.map((prefix) => [prefix, false] as const),
    ].sort(([a], [b]) => b.length - a.length);
  }

  /** The longest prefix that fits decides; a name that none fits is wanted. */
  allows(name: string): boolean {
    return this.#verdicts.find(([prefix]) => name.startsWith(prefix))?.[1] ?? true;
  }
}
