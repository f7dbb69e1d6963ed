import { readFile } from "node:fs/promises";
import type { Io } from "./io.ts";

/**
 * Reads a file named on the command line, or standard input for `-`.
 *
 * @throws Error in the words of the reference
 */
export async function readInputFile(path: string, io: Io): Promise<string> {
  if (path === "-") return decode(await io.readInput());
  try {
    return decode(await readFile(path));
  } catch (error) {
    throw new Error(`open ${path}: ${fileProblem(error)}`, { cause: error });
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

const PROBLEMS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EISDIR: "is a directory",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
  EPIPE: "broken pipe",
};

/** Why a file could not be used, in the system's words. */
export function fileProblem(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return PROBLEMS[code] ?? error.message;
}
