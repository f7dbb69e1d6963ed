/** The log of a daemon, which goes on through every change of its level, its format and the file it goes to. */
import {
  createLog,
  type Log,
  type LogFormat,
  type LogLevel,
  type LogSettings,
  type LogSink,
  stdoutSink,
} from "./log.ts";

/** Where and how to log, as the configuration says. */
export interface LogTarget {
  /** Absent for standard output, or the journal behind it. */
  readonly file?: string;
  readonly level: LogLevel;
  readonly format: LogFormat;
}

/** A log file that is only ever appended to. */
export interface LogFile {
  write(line: string): void;
  /** Opens the path anew, after the file was moved away; goes on with the old one when that fails. @throws Error */
  reopen(): void;
  close(): void;
}

export class DaemonLog {
  readonly log: Log;
  readonly #open: (path: string) => LogFile;
  readonly #settings: LogSettings;
  #target: LogTarget;
  #file: LogFile | undefined;

  /**
   * @param now milliseconds since the epoch, from the injected clock
   * @param open of the log file @throws Error when it cannot be opened
   * @param standard where lines go without a log file
   */
  constructor(
    target: LogTarget,
    now: () => number,
    open: (path: string) => LogFile,
    standard: LogSink = stdoutSink,
  ) {
    this.#open = open;
    this.#target = target;
    this.#file = target.file === undefined ? undefined : open(target.file);
    this.#settings = { level: target.level, format: target.format };
    const write: LogSink["write"] = (line, event) =>
      this.#file === undefined ? standard.write(line, event) : this.#file.write(line);
    this.log = createLog(this.#settings, now, { write });
  }

  /** Opens the log file anew. @throws Error; then the log goes on into the old one */
  reopen(): void {
    this.#file?.reopen();
  }

  /**
   * Follows the configuration; the file is opened anew in any case. A level that was set by hand stays unless the configuration's changed.
   *
   * @throws Error when the file cannot be opened; then nothing has changed
   */
  follow(target: LogTarget): void {
    if (target.file === this.#target.file) this.reopen();
    else {
      const file = target.file === undefined ? undefined : this.#open(target.file);
      this.#file?.close();
      this.#file = file;
    }
    this.#settings.format = target.format;
    if (target.level !== this.#target.level) {
      this.#settings.level = target.level;
      this.#settings.launchLevel = target.level;
    }
    this.#target = target;
  }
}
