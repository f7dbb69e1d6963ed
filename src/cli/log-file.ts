import { closeSync, openSync, writeSync } from "node:fs";
import { fileProblem } from "./input-file.ts";

/** A log file that is only ever appended to. */
export interface LogFile {
  write(line: string): void;
  /** Opens the path anew, after the file was moved away; goes on with the old one when that fails. @throws Error */
  reopen(): void;
}

/** @throws Error when the file cannot be opened */
export function openLogFile(path: string): LogFile {
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
