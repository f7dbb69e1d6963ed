/**
 * The line that `systemctl status` shows of a daemon, kept true: worked out anew after a change, at most every few seconds however much
 * changes, and said only when it reads differently.
 */
import type { Clock, Timer } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";

/** Changes that belong together come together. */
const SETTLE_MS = 500;
/** Each line is a message to systemd, and what is counted for it costs. */
const LEAST_BETWEEN_MS = 5_000;

/** What a daemon says of itself. */
export interface StatusSource {
  /** One line. */
  readonly text: () => Promise<string>;
  /** Calls the listener after every change that may concern the line. @returns ends that */
  readonly onChange: (listener: () => void) => () => void;
}

export interface StatusLineParts {
  readonly source: StatusSource;
  readonly tell: (text: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Follows the source until cancelled.
 *
 * @param said what was told last
 */
export function keepStatusLine(parts: StatusLineParts, said: string): Timer {
  const { source, tell, clock, log } = parts;
  let last = said;
  let lastAtMs = clock.monotonicMs();
  let due: Timer | undefined;
  let isOver = false;
  const say = async (): Promise<void> => {
    try {
      lastAtMs = clock.monotonicMs();
      // What changes from here on asks for another line.
      due = undefined;
      const text = await source.text();
      if (text === last || isOver) return;
      last = text;
      tell(text);
    } catch (error) {
      log.debug("The status line could not be worked out", { error });
    }
  };
  const end = source.onChange(() => {
    const waitMs = Math.max(SETTLE_MS, lastAtMs + LEAST_BETWEEN_MS - clock.monotonicMs());
    due ??= clock.after(waitMs, () => void say());
  });
  return {
    cancel: () => {
      isOver = true;
      end();
      due?.cancel();
    },
  };
}

/** A moment as a status line shows it. @param seconds Unix seconds */
export function momentText(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
