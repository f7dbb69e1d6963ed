import { setImmediate } from "node:timers/promises";

/** Items visited without letting others run; with a few microseconds each it stays far below the twenty milliseconds. */
const TURN_ITEMS = 250;

/** Visits all items in order. Between every few hundred other work of the process runs. */
export async function inTurns<T>(items: Iterable<T>, visit: (item: T) => void): Promise<void> {
  let visited = 0;
  for (const item of items) {
    visit(item);
    visited++;
    if (visited % TURN_ITEMS === 0) await setImmediate();
  }
}
