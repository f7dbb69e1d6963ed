import { BoundedLog, type WindowTimer } from "#log/bounded-log.ts";
import type { Log } from "#log/log.ts";

export interface RefusalLogParts {
  /** What may be shown of selectors: those that are one of these, or begin with one and a colon. */
  readonly logSelectors: () => readonly string[];
  readonly clock: WindowTimer;
  readonly log: Log;
}

/** Tells of workloads that nobody registered. Users that ask in a loop must not fill the disk: each has its share of lines. */
export class RefusalLog {
  readonly #logSelectors: RefusalLogParts["logSelectors"];
  readonly #bounded: BoundedLog;

  constructor({ logSelectors, clock, log }: RefusalLogParts) {
    this.#logSelectors = logSelectors;
    this.#bounded = new BoundedLog({ clock, log });
  }

  /** The log for what a user's processes cause. */
  of(uid: number): Log {
    return this.#bounded.from(`uid ${uid}`);
  }

  /** @param selectors `type:value` */
  noIdentity({ pid, uid }: { pid: number; uid: number }, selectors: ReadonlySet<string>): void {
    const shown = [...selectors]
      .filter((selector) => this.#logSelectors().some((prefix) => isOrIsBelow(selector, prefix)))
      .sort();
    this.of(uid).warn("No identity issued", {
      pid,
      uid,
      registered: false,
      ...(shown.length === 0 ? {} : { selectors: shown.join(",") }),
    });
  }
}

function isOrIsBelow(selector: string, prefix: string): boolean {
  return selector === prefix || selector.startsWith(`${prefix}:`);
}
