/**
 * The note that a restore has begun to replace files and has not ended. A server that finds it does not start: what lies there may be half
 * of one state and half of another.
 */
import { readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { removeDrafts, syncDirectory, writeFileAtomically } from "#files/atomic-write.ts";

/** What a restore that was broken off needs to know to go on. */
export interface Unfinished {
  /** In the names of what was there before. */
  readonly suffix: string;
  /** Each file that was there before. */
  readonly before: readonly string[];
}

export function unfinishedPath(dataDir: string): string {
  return join(dataDir, "unfinished-restore.json");
}

/** @throws Error when the note cannot be read */
export function readUnfinished(dataDir: string): Unfinished | undefined {
  const path = unfinishedPath(dataDir);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const { suffix, before } = parse(text);
  if (typeof suffix !== "string" || !Array.isArray(before)) {
    throw new Error(
      `${path} is not as \`spire-server backup restore\` writes it: compare the files with .before-restore in their names, and remove it`,
    );
  }
  return { suffix, before };
}

function parse(text: string): Partial<Unfinished> {
  try {
    return (JSON.parse(text) ?? {}) as Partial<Unfinished>;
  } catch {
    return {};
  }
}

/** @throws Error with the way out while a restore is unfinished */
export function refuseUnfinished(dataDir: string): void {
  const unfinished = readUnfinished(dataDir);
  if (unfinished === undefined) return;
  throw new Error(
    `a restore into ${dataDir} was broken off: run \`spire-server backup restore\` again, or, to go back to what was there before, give the files with ${unfinished.suffix} in their names the names that they had, and remove ${unfinishedPath(dataDir)}`,
  );
}

export async function noteUnfinished(dataDir: string, unfinished: Unfinished): Promise<void> {
  const path = unfinishedPath(dataDir);
  // Of a restore that was killed while it wrote the note.
  await removeDrafts(path);
  await writeFileAtomically(path, `${JSON.stringify(unfinished)}\n`, 0o600);
}

export async function noteFinished(dataDir: string): Promise<void> {
  const path = unfinishedPath(dataDir);
  rmSync(path);
  await syncDirectory(dirname(path));
}
