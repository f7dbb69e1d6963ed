/** Whether what a daemon keeps its state in is still there: what is written to a file that was deleted is lost with the process. */
import { accessSync, constants, statSync } from "node:fs";

export class KeptFiles {
  readonly #known: readonly (readonly [path: string, mark: string])[];

  /** @param paths files or directories, as they are at this moment; what is not there is not looked after */
  constructor(paths: readonly string[]) {
    this.#known = paths.flatMap((path) => {
      const mark = markOf(path);
      return mark === undefined ? [] : [[path, mark] as const];
    });
  }

  /** @returns for instance `/a is gone`; undefined when all is as it was, and can be written to */
  problem(): string | undefined {
    for (const [path, before] of this.#known) {
      const now = markOf(path);
      if (now === undefined) return `${path} is gone`;
      if (now !== before) return `${path} was replaced by another`;
      if (!isWritable(path)) return `${path} cannot be written to any more`;
    }
    return undefined;
  }
}

function markOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
