import type { Clock } from "#clock/clock.ts";
import { TokenBuckets } from "#clock/token-buckets.ts";
import type { Log } from "#log/log.ts";

export interface RefusalLogParts {
  /** What may be shown of selectors: those that are one of these, or begin with one and a colon. */
  readonly logSelectors: () => readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Tells of workloads that nobody registered. One that asks in a loop must not fill the disk: it is told of once a second. */
export class RefusalLog {
  readonly #parts: RefusalLogParts;
  readonly #told: TokenBuckets;

  constructor(parts: RefusalLogParts) {
    this.#parts = parts;
    this.#told = new TokenBuckets(1, parts.clock);
  }

  /** @param selectors `type:value` */
  noIdentity(pid: number, selectors: ReadonlySet<string>): void {
    const { log, logSelectors } = this.#parts;
    const shown = [...selectors]
      .filter((selector) => logSelectors().some((prefix) => isOrIsBelow(selector, prefix)))
      .sort();
    const fields = {
      pid,
      registered: false,
      ...(shown.length === 0 ? {} : { selectors: shown.join(",") }),
    };
    const key = [...selectors].sort().join("\n");
    if (this.#told.waitMs(key, 1) > 0) log.debug("No identity issued", fields);
    else {
      this.#told.take(key, 1);
      log.error("No identity issued", fields);
    }
  }
}

function isOrIsBelow(selector: string, prefix: string): boolean {
  return selector === prefix || selector.startsWith(`${prefix}:`);
}
