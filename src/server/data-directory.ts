import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { errorText } from "#spiffe/status-error.ts";

/**
 * Makes sure that the data directory is there and can be written to. A directory made here is for its owner alone.
 *
 * @throws Error naming the directory and the way out
 */
export function prepareDataDirectory(path: string): void {
  try {
    makePrivateDirectory(path);
    if (!statSync(path).isDirectory()) throw new Error("not a directory");
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(
      `could not use data directory ${JSON.stringify(path)}: ${errorText(error)}; set data_dir (or -dataDir) to a directory that the user running the server may write to`,
      { cause: error },
    );
  }
}

/** Makes what is missing of a directory that is for its owner alone. Those above it are as the umask has them: its owner may be another one later. */
export function makePrivateDirectory(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  mkdirSync(path, { recursive: true, mode: 0o700 });
}
