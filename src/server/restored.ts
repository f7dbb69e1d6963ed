/**
 * That this server's data came back from a backup. Agents renewed their SVIDs after the backup was made, and the restored datastore does not
 * know those: it is told here from when to when they were issued, so that they are not taken for stolen ones.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "#files/atomic-write.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";

/** What was issued in this time is not in the datastore. Unix seconds. */
export interface LostTime {
  /** When the backup was made. */
  readonly from: number;
  /** When it was restored. */
  readonly until: number;
}

export function lostTimePath(dataDir: string): string {
  return join(dataDir, "restored.json");
}

export async function writeLostTime(dataDir: string, { from, until }: LostTime): Promise<void> {
  const text = `${JSON.stringify({ backup_made_at: from, restored_at: until })}\n`;
  await writeFileAtomically(lostTimePath(dataDir), text, 0o600);
}

/** Undefined for data that never came from a backup. A file that makes no sense is logged, and then no such SVID is good. */
export function readLostTime(dataDir: string, log: Log): LostTime | undefined {
  const path = lostTimePath(dataDir);
  try {
    const document = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    const { backup_made_at: from, restored_at: until } = document;
    if (typeof from !== "number" || typeof until !== "number") throw new Error("a time is missing");
    return { from, until };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    log.warn("Agents that renewed their SVIDs since the backup will have to attest again", {
      path,
      error: errorText(error),
    });
    return undefined;
  }
}
