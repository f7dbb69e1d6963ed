import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** What docs/CONFIGURATION.md says of a key of the reference's. */
export type KeyState = "works" | "not needed" | "refused";

/** The rows of its last section, by key: `| key | state, with more words |`. */
export function documentedStates(): ReadonlyMap<string, KeyState> {
  const text = readFileSync(resolve(import.meta.dir, "../../docs/CONFIGURATION.md"), "utf8");
  const rows = text.matchAll(/^\| `(.*?)` \| (works|not needed|refused)\b.*\|$/gm);
  return new Map([...rows].map(([, key = "", state]) => [key, state as KeyState] as const));
}
