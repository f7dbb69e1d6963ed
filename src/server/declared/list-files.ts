/**
 * The files of a directory of declared entries: which are read, which are not, and whether they may be trusted. Entries grant identity,
 * so what everybody may write is refused, and a link must not lead out of the directory.
 */

import type { BigIntStats } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileProblem } from "#cli/input-file.ts";
import { ConfigError } from "#config/config-error.ts";
import { checkOwn, followSafely, type SafetyRules } from "#files/safe-path.ts";
import { isReadable, KNOWN_ENDINGS } from "./read-file.ts";

/** The largest file, in bytes. */
export const MAX_FILE_BYTES: number = 4 * 1024 * 1024;
const MAX_FILES = 1000;
/** Written by everybody. */
const WORLD_WRITABLE = 0o002n;

/**
 * Whose files are taken: by a server that keeps to a directory by itself, only those that none but root and its own user may write; of somebody
 * who names a directory to a command, and sees what comes of it, all that not everybody may write.
 */
export type Trusted = SafetyRules | "anybody";

export interface ListedFile {
  /** Its name in the directory, as messages show it. */
  readonly name: string;
  /** Without links. */
  readonly path: string;
}

export interface FileList {
  /** By name. */
  readonly files: readonly ListedFile[];
  /** Of all these files together. */
  readonly bytes: number;
  /** Of files that are not read although they may have been meant to be. */
  readonly warnings: readonly string[];
  /** Differs whenever a file may have come, gone, changed or been put in another's place. */
  readonly fingerprint: string;
}

/**
 * Looks at a directory. Links are followed, of the directory itself and of files, as long as files stay below the directory: so a whole
 * set can be swapped by one rename.
 *
 * @throws ConfigError with every problem found, a line each
 */
export async function listFiles(directory: string, trusted: Trusted): Promise<FileList> {
  const root = await openRoot(directory, trusted);
  const names = (await readdir(root)).filter((name) => !isHidden(name)).sort();
  const warnings: string[] = [];
  const problems: string[] = [];
  const files: ListedFile[] = [];
  const marks: string[] = [root];
  let bytes = 0;
  for (const name of names) {
    if (!isReadable(name)) {
      warnings.push(`${name}: not read: its name ends in none of ${KNOWN_ENDINGS}`);
      continue;
    }
    try {
      const { path, facts } = await lookAt(root, name, trusted);
      marks.push(`${name} ${path} ${markOf(facts)}`);
      files.push({ name, path });
      bytes += Number(facts.size);
    } catch (error) {
      problems.push(`${name}: ${fileProblem(error)}`);
    }
  }
  if (files.length > MAX_FILES) {
    problems.push(`${directory}: more than ${MAX_FILES} files: put several entries into one`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { files, bytes, warnings, fingerprint: marks.join("\n") };
}

async function openRoot(directory: string, trusted: Trusted): Promise<string> {
  try {
    if (trusted !== "anybody") followSafely(directory, trusted);
    const root = await realpath(directory);
    const facts = await stat(root, { bigint: true });
    if (!facts.isDirectory()) throw new Error("is not a directory");
    refuseWorldWritable(facts);
    return root;
  } catch (error) {
    throw new ConfigError([`${directory}: ${fileProblem(error)}`]);
  }
}

async function lookAt(
  root: string,
  name: string,
  trusted: Trusted,
): Promise<{ readonly path: string; readonly facts: BigIntStats }> {
  const path = await realpath(join(root, name));
  if (!path.startsWith(root === "/" ? root : `${root}/`)) {
    throw new Error(`a link that leads out of the directory, to ${path}`);
  }
  const facts = await stat(path, { bigint: true });
  if (!facts.isFile()) throw new Error("is not a regular file");
  if (facts.size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`);
  refuseWorldWritable(facts);
  const parent = dirname(path);
  if (parent !== root) refuseWorldWritable(await stat(parent, { bigint: true }));
  if (trusted !== "anybody") checkOwners(root, path, facts, trusted);
  return { path, facts };
}

function refuseWorldWritable({ mode }: BigIntStats): void {
  if ((mode & WORLD_WRITABLE) === 0n) return;
  const octal = (mode & 0o7777n).toString(8).padStart(4, "0");
  throw new Error(`everybody may write it (mode ${octal}), and so grant identities: chmod o-w`);
}

/** The way to the directory was looked at before. */
function checkOwners(root: string, path: string, facts: BigIntStats, rules: SafetyRules): void {
  if (dirname(path) !== root) followSafely(dirname(path), rules);
  const { uid, gid, mode } = facts;
  const numbers = { uid: Number(uid), gid: Number(gid), mode: Number(mode) };
  const kind = { isDirectory: () => false, isSymbolicLink: () => false };
  checkOwn(path, { ...numbers, ...kind }, rules);
}

function markOf({ dev, ino, size, mode, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mode, mtimeNs, ctimeNs].join(" ");
}

/** Hidden files, what `..data` links lead to, and what editors leave beside a file while it is edited. */
function isHidden(name: string): boolean {
  return /^[.#]|~$|\.sw[a-z]$|\.tmp$/.test(name);
}
