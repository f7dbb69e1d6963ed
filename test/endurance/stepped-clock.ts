/**
 * A wall clock of one process's own, set forward and back while it runs. libfaketime stands between the process and its C library; the
 * clock that never jumps is left alone, as by an operator or NTP.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/process.ts";

export class SteppedClock {
  readonly #file: string;
  /** For the environment of the process. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(file: string, library: string) {
    this.#file = file;
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    };
  }

  /** @param directory where the file lies that the process reads its time from */
  static async make(directory: string): Promise<SteppedClock> {
    const installed = await run([join(import.meta.dir, "install-faketime")], {
      timeoutMs: 120_000,
    });
    if (installed.code !== 0) throw new Error(installed.stderr);
    const clock = new SteppedClock(join(directory, "clock"), installed.stdout.trim());
    clock.set(0);
    return clock;
  }

  /** Sets it so many seconds ahead of the machine's, or behind. */
  set(seconds: number): void {
    writeFileSync(this.#file, `${seconds < 0 ? "" : "+"}${seconds}\n`);
  }
}
