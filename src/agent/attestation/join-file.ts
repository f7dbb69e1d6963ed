/**
 * The file that an operator puts a join token or a join word into. While an agent waits to be let in, it is looked at: what is new there is
 * tried at once. Looked at rather than watched, because the file may be on any file system and its directory may come later.
 */
import { statSync } from "node:fs";
import type { Clock, Timer } from "#clock/clock.ts";
import type { Wakeup } from "#clock/wakeup.ts";

const LOOK_EVERY_MS = 1_000;

export class JoinFile {
  readonly #path: string | undefined;
  readonly #clock: Clock;
  /** What the file looked like when it was last found to be another one. */
  #seen: string;

  /** @param path undefined when token and word come from elsewhere */
  constructor(path: string | undefined, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
    this.#seen = this.#look();
  }

  /** Waits until there is another file than at the end of the last wait, until woken, or that many milliseconds. */
  async wait(wakeup: Wakeup, milliseconds: number, signal: AbortSignal): Promise<void> {
    if (this.#path === undefined) return wakeup.wait(milliseconds, signal);
    let timer: Timer | undefined;
    const look = (): void => {
      const found = this.#look();
      if (found === this.#seen) timer = this.#clock.after(LOOK_EVERY_MS, look);
      else {
        this.#seen = found;
        wakeup.wake();
      }
    };
    look();
    await wakeup.wait(milliseconds, signal);
    timer?.cancel();
  }

  /** Differs for every file that is put there, and after every write. */
  #look(): string {
    if (this.#path === undefined) return "";
    try {
      const { ino, size, mtimeNs } = statSync(this.#path, { bigint: true });
      return `${ino} ${size} ${mtimeNs}`;
    } catch {
      return "";
    }
  }
}
