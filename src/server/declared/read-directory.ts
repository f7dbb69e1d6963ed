/** All declared entries of a directory: every file of it, or nothing. */
import { fileProblem } from "#cli/input-file.ts";
import { ConfigError } from "#config/config-error.ts";
import { readBounded } from "#files/read-bounded.ts";
import type { DeclaredEntry } from "#proto/spire_edge/declared/v1/declared.ts";
import {
  type FileList,
  type ListedFile,
  listFiles,
  MAX_FILE_BYTES,
  type Trusted,
} from "./list-files.ts";
import { readDeclaredFile } from "./read-file.ts";

/** How many entries a set may have: what the server's memory is measured for. */
export const MAX_ENTRIES = 100_000;
const MAX_TOTAL_BYTES = 64 * 1024 * 1024;
/** How often a directory is read again that changed meanwhile. */
const MAX_READS = 5;

export interface DirectoryContent {
  readonly declared: readonly DeclaredEntry[];
  /** As of the files, see FileList. */
  readonly warnings: readonly string[];
  readonly fingerprint: string;
}

/**
 * Reads a directory as it was at one moment: one that changed meanwhile is read again.
 *
 * @throws ConfigError with every problem found, a line each: file, line, column and key
 */
export async function readDirectory(
  directory: string,
  trusted: Trusted,
): Promise<DirectoryContent> {
  for (let reads = 0; reads < MAX_READS; reads++) {
    const list = await listFiles(directory, trusted);
    const result = await readFiles(list.files).catch((error: unknown) => ({ error }));
    if ((await fingerprintNow(directory, trusted)) !== list.fingerprint) continue;
    if ("error" in result) throw result.error;
    const { warnings, fingerprint } = list;
    return { declared: result, warnings, fingerprint };
  }
  throw new ConfigError([`${directory}: changes all the time while it is read`]);
}

async function fingerprintNow(
  directory: string,
  trusted: Trusted,
): Promise<FileList["fingerprint"] | undefined> {
  try {
    return (await listFiles(directory, trusted)).fingerprint;
  } catch {
    return undefined;
  }
}

async function readFiles(files: readonly ListedFile[]): Promise<readonly DeclaredEntry[]> {
  const problems: string[] = [];
  const declared: DeclaredEntry[] = [];
  let totalBytes = 0;
  for (const file of files) {
    try {
      // No link: where the path led was found out before.
      const content = await readBounded(file.path, MAX_FILE_BYTES, "refused");
      totalBytes += content.length;
      if (totalBytes > MAX_TOTAL_BYTES) {
        throw new ConfigError([`${file.name}: all files are larger than ${MAX_TOTAL_BYTES} bytes`]);
      }
      for (const one of readDeclaredFile(decode(content), file.name)) declared.push(one);
    } catch (error) {
      problems.push(
        error instanceof ConfigError ? error.message : `${file.name}: ${fileProblem(error)}`,
      );
    }
    if (totalBytes > MAX_TOTAL_BYTES) break;
  }
  if (declared.length > MAX_ENTRIES) problems.push(`more than ${MAX_ENTRIES} entries are declared`);
  if (problems.length > 0) throw new ConfigError(problems);
  return declared;
}

function decode(content: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    throw new Error("not text in UTF-8");
  }
}
