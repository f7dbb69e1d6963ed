/**
 * The directory of all that a daemon keeps: keys, and what decides over every identity. Nobody else may put another in its place. That a group
 * may write it is for the operator to have wanted, as with volumes that a container's group gets; it is only told.
 */
import { accessSync, constants } from "node:fs";
import { dirname } from "node:path";
import { checkOwn, makeSafeDirectory, type SafetyRules } from "./safe-path.ts";

/** Makes what is missing, the directory itself for its owner alone, those above it as the umask has them: their owner may be another one later. */
export function makePrivateDirectory(path: string, rules: SafetyRules): string | undefined {
  const lenient: SafetyRules = { ...rules, groups: "allowed" };
  makeSafeDirectory(dirname(path), 0o777 & ~process.umask(), lenient);
  const { path: real, facts } = makeSafeDirectory(path, 0o700, lenient);
  try {
    if (facts !== undefined) checkOwn(real, facts, rules);
    return undefined;
  } catch (error) {
    return String((error as Error).message);
  }
}

/**
 * Makes sure that the data directory is there, is this user's, and can be written to.
 *
 * @returns what to warn of; undefined when all is well
 * @throws Error naming the directory and the way out
 */
export function prepareDataDirectory(path: string, rules: SafetyRules): string | undefined {
  const warning = makePrivateDirectory(path, rules);
  accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  return warning;
}
