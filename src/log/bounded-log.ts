/** Lines that others can cause by the thousand: each source has its share of a window, and one line tells of the rest. */
import { isLogged, type Log, type LogFields } from "./log.ts";

/** The part of the clock that this takes. */
export interface WindowTimer {
  /** Runs the function once after that many milliseconds. */
  after(milliseconds: number, run: () => void): unknown;
}

export interface BoundedLogOptions {
  readonly log: Log;
  readonly clock: WindowTimer;
  /** How many lines of one source are written in a window. */
  readonly lines?: number;
  readonly windowMs?: number;
  /** How many sources are told apart in a window; all later ones share one share. */
  readonly sources?: number;
}

type LineLevel = "error" | "warn" | "info" | "debug";

interface Share {
  written: number;
  leftOut: number;
  /** What the last line that was left out said, and how grave the gravest was. */
  lastMessage: string;
  level: LineLevel;
}

const LINES = 10;
const WINDOW_MS = 60_000;
const SOURCES = 64;
/** The source of all that there was no more room for. */
const OTHERS = "others";
const GRAVEST_FIRST: readonly LineLevel[] = ["error", "warn", "info", "debug"];

export class BoundedLog {
  readonly #log: Log;
  readonly #clock: WindowTimer;
  readonly #lines: number;
  readonly #windowMs: number;
  readonly #sources: number;
  readonly #shares = new Map<string, Share>();

  constructor(options: BoundedLogOptions) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#lines = options.lines ?? LINES;
    this.#windowMs = options.windowMs ?? WINDOW_MS;
    this.#sources = options.sources ?? SOURCES;
  }

  /**
   * The log for what one source caused. Lines beyond its share are counted, and one line at the end of the window says how many.
   * At level `debug` every line is written: who sets it wants to see them all.
   *
   * @param source who is to blame, in few different values: an address without its port, a uid, a SPIFFE ID; shown in the log
   * @param fields for every line
   */
  from(source: string, fields: LogFields = {}): Log {
    return this.#bounded(this.#log.with(fields), source);
  }

  #bounded(log: Log, source: string): Log {
    const line =
      (level: LineLevel) =>
      (message: string, fields?: LogFields): void => {
        if (this.#takes(source, level, message)) log[level](message, fields);
      };
    return {
      settings: log.settings,
      error: line("error"),
      warn: line("warn"),
      info: line("info"),
      debug: line("debug"),
      with: (fields) => this.#bounded(log.with(fields), source),
    };
  }

  #takes(source: string, level: LineLevel, message: string): boolean {
    const { settings } = this.#log;
    if (isLogged(settings, "debug")) return true;
    if (!isLogged(settings, level === "warn" ? "warning" : level)) return false;
    const share = this.#share(source);
    if (share.written < this.#lines) {
      share.written += 1;
      return true;
    }
    share.leftOut += 1;
    share.lastMessage = message;
    if (GRAVEST_FIRST.indexOf(level) < GRAVEST_FIRST.indexOf(share.level)) share.level = level;
    return false;
  }

  #share(source: string): Share {
    const isNew = !this.#shares.has(source);
    const name = isNew && this.#shares.size >= this.#sources ? OTHERS : source;
    const known = this.#shares.get(name);
    if (known !== undefined) return known;
    const share: Share = { written: 0, leftOut: 0, lastMessage: "", level: "debug" };
    this.#shares.set(name, share);
    this.#clock.after(this.#windowMs, () => this.#end(name, share));
    return share;
  }

  #end(source: string, share: Share): void {
    this.#shares.delete(source);
    if (share.leftOut === 0) return;
    this.#log[share.level]("Log lines were left out: too many of one source", {
      source,
      count: share.leftOut,
      seconds: this.#windowMs / 1000,
      last_message: share.lastMessage,
    });
  }
}
