/**
 * Puts the state in a backup in the place of a stopped server's. Everything is checked and written beside its place first. Then a note is
 * made, files are renamed, and the note is taken away: a restore that is broken off before the note has changed nothing, and one that is
 * broken off after it is repeated. Nothing that was there before is deleted.
 */
import { existsSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncDirectory } from "#files/atomic-write.ts";
import { makePrivateDirectory } from "#files/data-directory.ts";
import { type FileLock, lockFile } from "#files/lock.ts";
import { giveToOwnerOfDirectory } from "#files/owner.ts";
import type { SafetyRules } from "#files/safe-path.ts";
import { writeError } from "#files/write-error.ts";
import { prepareDataDirectory } from "#server/data-directory.ts";
import { companionsOf, prepareRestored } from "#server/datastore/sqlite/file/copy.ts";
import { lostTimePath, writeLostTime } from "#server/restored.ts";
import type { Extracted } from "./archive.ts";
import type { Contents } from "./contents.ts";
import type { ServerFiles } from "./create.ts";
import type { Manifest } from "./manifest.ts";
import {
  noteFinished,
  noteUnfinished,
  readUnfinished,
  type Unfinished,
  unfinishedPath,
} from "./unfinished.ts";
import { type Verified, verifyBackup } from "./verify.ts";

export interface RestoreRequest {
  /** The backup. */
  readonly path: string;
  readonly passphrase: string | undefined;
  readonly files: ServerFiles;
  /** Name of the trust domain that the configuration says; undefined where there is none. */
  readonly trustDomain: string | undefined;
  /** Keep what is there under other names, rather than refuse. */
  readonly moveAside: boolean;
  /** A new file for the configuration in the backup; undefined leaves it there. */
  readonly configurationOutput: string | undefined;
  /** Unix seconds. */
  readonly now: number;
  /** Asked before anything is changed, once all is checked. @throws Error when the backup is not to be restored */
  approve(backup: Verified): Promise<void>;
}

export interface Restored {
  readonly manifest: Manifest;
  readonly contents: Contents;
  /** Under which names what was there before is kept. */
  readonly movedAside: readonly string[];
}

/** A file of the state, where it is written first. */
const STAGED = ".restoring";

/** @throws Error naming what stands in the way; unless it says otherwise, nothing has changed */
export async function restoreBackup(request: RestoreRequest): Promise<Restored> {
  const { files } = request;
  const rules = ownerOf(files.dataDir);
  prepareDataDirectory(files.dataDir, rules);
  for (const path of targetsOf(files)) makePrivateDirectory(dirname(path), rules);
  const locks = takeLocks(files);
  try {
    const unfinished = readUnfinished(files.dataDir);
    if (unfinished === undefined && !request.moveAside) refuseToReplace(files);
    removeStaged(files);
    const { manifest, contents } = await stage(request);
    const note = unfinished ?? newNote(files, request.now);
    const movedAside = await replace(files, note, { from: manifest.createdAt, until: request.now });
    return { manifest, contents, movedAside };
  } catch (error) {
    removeStaged(files);
    throw error;
  } finally {
    for (const lock of locks) lock.release();
  }
}

/** Root restores for a daemon whose directory it is. */
function ownerOf(dataDir: string): SafetyRules {
  const found = statSync(dataDir, { throwIfNoEntry: false });
  return found === undefined ? {} : { alsoOwners: [found.uid] };
}

/** Those of the server, so that neither runs beside the other. */
function takeLocks({ dataDir, databasePath }: ServerFiles): readonly FileLock[] {
  const locks: FileLock[] = [];
  try {
    for (const path of [join(dataDir, "server.lock"), `${databasePath}.lock`]) {
      locks.push(lockFile(path));
      giveToOwnerOfDirectory(path);
    }
    return locks;
  } catch (error) {
    for (const lock of locks) lock.release();
    throw error;
  }
}

function targetsOf({ databasePath, keysPath }: ServerFiles): readonly string[] {
  return keysPath === undefined ? [databasePath] : [databasePath, keysPath];
}

function presentFiles(files: ServerFiles): readonly string[] {
  const all = [...targetsOf(files), ...companionsOf(files.databasePath)];
  return all.filter((path) => existsSync(path));
}

function refuseToReplace(files: ServerFiles): void {
  const [present] = presentFiles(files);
  if (present === undefined) return;
  throw new Error(
    `${present} is there already: with -moveAside, what is there is kept under other names; nothing was changed`,
  );
}

function removeStaged(files: ServerFiles): void {
  for (const path of targetsOf(files)) {
    const staged = `${path}${STAGED}`;
    for (const file of [staged, ...companionsOf(staged)]) rmSync(file, { force: true });
  }
}

/** Writes the state beside its place, and checks it there. */
async function stage(request: RestoreRequest): Promise<Omit<Restored, "movedAside">> {
  const { path, passphrase, files, configurationOutput } = request;
  const databasePath = `${files.databasePath}${STAGED}`;
  const verified = await verifyBackup(path, passphrase, databasePath);
  checkBelongs(request, verified);
  await request.approve(verified);
  prepareRestored(databasePath);
  giveToOwnerOfDirectory(databasePath);
  if (files.keysPath !== undefined && verified.keys !== undefined) {
    await writeNew(`${files.keysPath}${STAGED}`, verified.keys);
  }
  if (configurationOutput !== undefined) await writeConfiguration(verified, configurationOutput);
  return verified;
}

function checkBelongs(
  { path, trustDomain, files }: RestoreRequest,
  { manifest, keys }: Extracted,
): void {
  if (trustDomain !== undefined && trustDomain !== manifest.trustDomain) {
    throw new Error(
      `backup ${path} is of trust domain ${manifest.trustDomain}, the configuration is of ${trustDomain}`,
    );
  }
  if (keys !== undefined && files.keysPath === undefined) {
    throw new Error(
      `backup ${path} holds keys, but by the configuration the server keeps none on disk: restore with KeyManager "disk"`,
    );
  }
}

async function writeConfiguration({ configuration }: Extracted, output: string): Promise<void> {
  if (configuration === undefined) {
    throw new Error("the backup holds no configuration file: leave -configOutput out");
  }
  // A restore that was broken off has written it already.
  if (existsSync(output) && readFileSync(output).equals(configuration)) return;
  await writeNew(output, configuration);
}

async function writeNew(path: string, data: string | Uint8Array): Promise<void> {
  try {
    await using file = await open(path, "wx", 0o600);
    await file.writeFile(data);
    await file.sync();
  } catch (error) {
    throw writeError(path, error);
  }
  giveToOwnerOfDirectory(path);
}

/** From the note on, a server does not start here until all of this is done. @returns what is kept under other names */
async function replace(
  files: ServerFiles,
  note: Unfinished,
  lostTime: { readonly from: number; readonly until: number },
): Promise<readonly string[]> {
  const { dataDir } = files;
  await noteUnfinished(dataDir, note);
  giveToOwnerOfDirectory(unfinishedPath(dataDir));
  const moved = note.before.map((path) => [path, asideOf(files, path, note.suffix)] as const);
  for (const [path, aside] of moved) {
    // Where there is one aside, what has its place is of the restore that was broken off.
    if (existsSync(path) && !existsSync(aside)) renameSync(path, aside);
  }
  await syncAll(files);
  for (const path of targetsOf(files)) {
    const staged = `${path}${STAGED}`;
    if (existsSync(staged)) renameSync(staged, path);
  }
  await syncAll(files);
  await writeLostTime(dataDir, lostTime);
  giveToOwnerOfDirectory(lostTimePath(dataDir));
  await noteFinished(dataDir);
  return moved.map(([, aside]) => aside);
}

/** SQLite finds what belongs to a database by its name, so the ends of names stay. */
function asideOf({ databasePath }: ServerFiles, path: string, suffix: string): string {
  const isCompanion = companionsOf(databasePath).includes(path);
  return isCompanion
    ? `${databasePath}${suffix}${path.slice(databasePath.length)}`
    : `${path}${suffix}`;
}

/** Under names that nothing has yet, whatever the clock says. */
function newNote(files: ServerFiles, now: number): Unfinished {
  const before = presentFiles(files);
  const time = new Date(now * 1000).toISOString().replace(/[-:]|\.000/g, "");
  for (let number = 1; ; number += 1) {
    const suffix = `.before-restore-${time}${number === 1 ? "" : `-${number}`}`;
    const isTaken = before.some((path) => existsSync(asideOf(files, path, suffix)));
    if (!isTaken) return { suffix, before };
  }
}

async function syncAll(files: ServerFiles): Promise<void> {
  for (const directory of new Set(targetsOf(files).map(dirname))) await syncDirectory(directory);
}
