/** All declared entries of a directory: every file of it, or nothing. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { fileProblem } from "#cli/input-file.ts";
import { ConfigError } from "#config/config-error.ts";
import type { DeclaredEntry } from "#grpc/gen/spire_edge/declared/v1/declared.ts";
import { type FileList, type ListedFile, listFiles, MAX_FILE_BYTES } from "./list-files.ts";
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
export async function readDirectory(directory: string): Promise<DirectoryContent> {
  for (let reads = 0; reads < MAX_READS; reads++) {
    const list = await listFiles(directory);
    const result = await readFiles(list.files).catch((error: unknown) => ({ error }));
    if ((await fingerprintNow(directory)) !== list.fingerprint) continue;
    if ("error" in result) throw result.error;
    const { warnings, fingerprint } = list;
    return { declared: result, warnings, fingerprint };
  }
  throw new ConfigError([`${directory}: changes all the time while it is read`]);
}

async function fingerprintNow(directory: string): Promise<FileList["fingerprint"] | undefined> {
  try {
    return (await listFiles(directory)).fingerprint;
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
      const content = await readContent(file);
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

/** Without waiting for a pipe that somebody put in the file's place, and without following a link. */
async function readContent({ path }: ListedFile): Promise<Uint8Array> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const facts = await handle.stat();
    if (!facts.isFile() || facts.size > MAX_FILE_BYTES) throw new Error("was exchanged");
    const buffer = new Uint8Array(facts.size + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) return buffer.subarray(0, length);
      length += bytesRead;
      if (length > facts.size) throw new Error("grew while it was read");
    }
  } finally {
    await handle.close();
  }
}

function decode(content: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    throw new Error("not text in UTF-8");
  }
}
