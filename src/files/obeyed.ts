/**
 * Files that a daemon obeys: they grant identities or authority, to it or by it, so nobody may write them but root and its own user. In other
 * programs, which look at a daemon's files from outside, they are whoever's they are.
 */
import { followSafely, type SafetyRules } from "./safe-path.ts";

let isDaemon = false;

/** From now on this process is one that obeys files. */
export function obeyOwnFilesOnly(): void {
  isDaemon = true;
}

/** Who starts a daemon of root's by sudo could give it any file anyway. */
export function ownerRules(): SafetyRules {
  const { SUDO_UID: user = "" } = process.env;
  return process.geteuid?.() === 0 && /^\d+$/.test(user) ? { alsoOwners: [Number(user)] } : {};
}

/**
 * A path whose file is about to be obeyed.
 *
 * @returns the same path
 * @throws Error when somebody else could change the file, or put another in its place
 */
export function obeyed(path: string): string {
  if (isDaemon) followSafely(path, ownerRules());
  return path;
}
