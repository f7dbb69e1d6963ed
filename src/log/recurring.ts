/** A failure of what is tried again and again: told once when it starts, once for each other reason, and never for each try. */
import type { Log, LogFields } from "./log.ts";

/** A failure that words itself differently each time is not told for ever. */
const MAX_REASONS = 16;

export class Recurring {
  readonly #log: Log;
  readonly #told = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** The repetitions are there at level debug. @param fields `error` is the reason */
  failed(
    level: "error" | "warn",
    message: string,
    fields: LogFields & { readonly error: string },
  ): void {
    const reason = `${message}\0${fields.error}`;
    const isNew = !this.#told.has(reason) && this.#told.size < MAX_REASONS;
    if (isNew) this.#told.add(reason);
    this.#log[isNew ? level : "debug"](message, fields);
  }

  /** It works. @returns whether that is news: it did not before */
  over(): boolean {
    const isNews = this.#told.size > 0;
    this.#told.clear();
    return isNews;
  }
}
