import { closeSync, openSync, writeSync } from "node:fs";
import { fileProblem } from "./input-file.ts";

/** A log file that is only ever appended to. @throws Error when it cannot be opened */
export function openLogFile(path: string): {
  readonly write: (line: string) => void;
  readonly reopen: () => void;
  readonly close: () => void;
} {
  let file = open(path);
  return {
    write(line) {
      writeSync(file, line);
    },
    reopen() {
      const fresh = open(path);
      closeSync(file);
      file = fresh;
    },
    close() {
      closeSync(file);
    },
  };
}

function open(path: string): number {
  try {
    return openSync(path, "a", 0o640);
  } catch (error) {
    throw new Error(`unable to open the log file: open ${path}: ${fileProblem(error)}`, {
      cause: error,
    });
  }
}
