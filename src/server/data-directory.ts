import { prepareDataDirectory as prepare } from "#files/data-directory.ts";
import { ownerRules } from "#files/obeyed.ts";
import type { SafetyRules } from "#files/safe-path.ts";
import { errorText } from "#spiffe/status-error.ts";

/**
 * Makes sure that the data directory is there, that nobody else can put another in its place, and that it can be written to. A directory made
 * here is for its owner alone.
 *
 * @param rules for a restore by root: whose the directory may be
 * @returns what to warn of; undefined when all is well
 * @throws Error naming the directory and the way out
 */
export function prepareDataDirectory(
  path: string,
  rules: SafetyRules = ownerRules(),
): string | undefined {
  try {
    return prepare(path, rules);
  } catch (error) {
    throw new Error(
      `could not use data directory ${JSON.stringify(path)}: ${errorText(error)}; set data_dir (or -dataDir) to a directory that the user running the server may write to`,
      { cause: error },
    );
  }
}
