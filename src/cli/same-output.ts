import { fstatSync } from "node:fs";

/**
 * Whether a line on standard output is read by whoever reads standard error: both are one terminal, file or journal. What was logged there
 * need not be said again.
 */
export function isOneOutput(): boolean {
  try {
    const [out, err] = [fstatSync(1), fstatSync(2)];
    return out.ino === err.ino && out.dev === err.dev;
  } catch {
    return false;
  }
}
