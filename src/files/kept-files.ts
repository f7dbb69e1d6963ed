/**
 * Whether what a daemon keeps its state in is still there and takes changes: what is written to a file that was deleted is lost with the
 * process, and what cannot be written is not kept.
 */
import { accessSync, closeSync, constants, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { fullText, isAsGoodAsFull, readOnlyText } from "./write-error.ts";

export interface KeptProblem {
  /** What is lost is not there for the next start either; the others end when the operator has seen to them. */
  readonly kind: "lost" | "read-only" | "full";
  /** For instance `/a is gone`. */
  readonly text: string;
}

export class KeptFiles {
  readonly #known: readonly (readonly [path: string, mark: string])[];
  readonly #locks: readonly string[];

  /**
   * @param paths files or directories, as they are at this moment; what is not there is not looked after
   * @param locks the daemon's lock files beside them. To open one for writing is what shows that the kernel has given a file system up:
   * the mount may look writable still. A database may not be opened so: to close it again would give up the locks that SQLite has on it.
   */
  constructor(paths: readonly string[], locks: readonly string[]) {
    this.#known = paths.flatMap((path) => {
      const mark = markOf(path);
      return mark === undefined ? [] : [[path, mark] as const];
    });
    this.#locks = locks;
  }

  /** @returns undefined when all is as it was, and can be written to */
  problem(): KeptProblem | undefined {
    return this.obstacle() ?? this.#shortage();
  }

  /** The same without a look at how much room there is: a change may well find some in what a file has already. */
  obstacle(): KeptProblem | undefined {
    for (const [path, before] of this.#known) {
      const now = markOf(path);
      if (now === undefined) return { kind: "lost", text: `${path} is gone` };
      if (now !== before) return { kind: "lost", text: `${path} was replaced by another` };
    }
    for (const [path] of this.#known) {
      const code = refusal(() => accessSync(path, constants.W_OK));
      if (code === "EROFS") return { kind: "read-only", text: readOnlyText(path) };
      if (code !== undefined) {
        return {
          kind: "read-only",
          text: `${path} cannot be written to any more (${code}): give it back to the daemon's user`,
        };
      }
    }
    for (const lock of this.#locks) {
      const code = refusal(() => closeSync(openSync(lock, constants.O_RDWR)));
      if (code === "EROFS") return { kind: "read-only", text: readOnlyText(dirname(lock)) };
    }
    return undefined;
  }

  #shortage(): KeptProblem | undefined {
    const full = this.#known.map(([path]) => path).find(isAsGoodAsFull);
    return full === undefined ? undefined : { kind: "full", text: fullText(full) };
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

/** @returns the code of the error that the call ends with; undefined for none */
function refusal(call: () => void): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  }
}
