/**
 * Makes a backup of a server that runs, or of one that is stopped, from its files: no call goes to the server, no private key goes over a
 * socket, and whoever cannot read the files cannot make a backup.
 *
 * Keys and CA journal must fit together. The server writes a new key before the journal tells of it, and replaces a key only after the
 * authority that it belonged to is retired. So the keys are read before and after the datastore is copied; when neither fits, authorities
 * were rotated twice in between, and it is all done again.
 */
import { existsSync } from "node:fs";
import { type FileHandle, open, readFile, rm } from "node:fs/promises";
import { constants, setPriority } from "node:os";
import { removeDrafts, writeFileAtomically } from "#files/atomic-write.ts";
import { writeError } from "#files/write-error.ts";
import { copyDatabase } from "#server/datastore/sqlite/file/copy.ts";
import { errorText } from "#spiffe/status-error.ts";
import { archiveBytes, describePart, type PartContent } from "./archive.ts";
import { type Contents, inspectContents, keyProblem } from "./contents.ts";
import { CONFIGURATION_NAME, DATABASE_NAME, KEYS_NAME, type Manifest } from "./manifest.ts";
import { refuseUnfinished } from "./unfinished.ts";

const ATTEMPTS = 5;

export interface ServerFiles {
  readonly dataDir: string;
  readonly databasePath: string;
  /** Undefined for a server that keeps its keys in memory. */
  readonly keysPath: string | undefined;
}

export interface BackupRequest {
  readonly files: ServerFiles;
  readonly trustDomain: string;
  /** Undefined when the server runs without. */
  readonly configurationPath: string | undefined;
  /** Of the executable. */
  readonly programVersion: string;
  readonly output: string;
  readonly passphrase: string | undefined;
  /** Unix seconds. */
  readonly now: number;
}

export interface Backup {
  readonly manifest: Manifest;
  readonly contents: Contents;
}

/** @throws Error naming the file that is missing, damaged, or cannot be written; the output is then as it was */
export async function createBackup(request: BackupRequest): Promise<Backup> {
  const { files, output } = request;
  refuseUnfinished(files.dataDir);
  if (!existsSync(files.databasePath)) {
    throw new Error(
      `there is no datastore ${files.databasePath}: does the server keep it elsewhere?`,
    );
  }
  giveWay();
  await prepareOutput(output);
  const draft = `${output}.${process.pid}-db.new`;
  let copied: FileHandle | undefined;
  try {
    const state = await consistentState(request, draft);
    copied = await open(draft, "r");
    // From here on nothing is left of it, however this ends.
    await rm(draft);
    const manifest = await writeArchive(request, state, copied);
    // A restore that came in between replaced the one and not yet the other.
    refuseUnfinished(files.dataDir);
    return { manifest, contents: state.contents };
  } finally {
    await copied?.close();
    await rm(draft, { force: true });
  }
}

/** The server's work goes before. */
function giveWay(): void {
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // A sandbox that forbids it decides itself how much of the machine this may have.
  }
}

async function prepareOutput(output: string): Promise<void> {
  try {
    await removeDrafts(output);
  } catch (error) {
    throw new Error(`cannot write ${output}: ${errorText(error)}`, { cause: error });
  }
}

interface State {
  readonly keys: string | undefined;
  readonly contents: Contents;
}

/** Copies the datastore, and reads the keys that fit to it. */
async function consistentState(request: BackupRequest, draft: string): Promise<State> {
  const { databasePath, keysPath } = request.files;
  let last: State | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const before = await readKeys(keysPath);
    await rm(draft, { force: true });
    copyDatabase(databasePath, draft);
    const after = await readKeys(keysPath);
    for (const keys of [before, after]) {
      last = { keys, contents: await inspected(request, draft, keys) };
      if (hasAllKeys(last.contents)) return last;
    }
  }
  if (last === undefined) throw new Error("nothing was read");
  const problem = keyProblem(last.contents);
  // Only a prepared authority lacks its key: it broke off while its successor was made. A server makes another one when its time comes.
  if (problem === undefined) return last;
  throw new Error(
    `${keysPath} does not fit to datastore ${databasePath}: ${problem}; take the keys from a backup before the server is started anew, as it would make new authorities that no agent knows (docs/BACKUP.md)`,
  );
}

function hasAllKeys({ authorities, request }: Contents): boolean {
  return request?.key !== "missing" && authorities.every(({ key }) => key !== "missing");
}

async function inspected(
  { trustDomain, files }: BackupRequest,
  databasePath: string,
  keys: string | undefined,
): Promise<Contents> {
  try {
    return await inspectContents({ databasePath, keys, trustDomain });
  } catch (error) {
    throw new Error(`cannot back up ${files.dataDir}: ${errorText(error)}`, { cause: error });
  }
}

/** A server that never started has no file of keys yet. */
async function readKeys(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return `{"keys": {}}`;
    throw new Error(`cannot read keys file ${path}: ${errorText(error)}`, { cause: error });
  }
}

async function writeArchive(
  request: BackupRequest,
  { keys, contents }: State,
  database: FileHandle,
): Promise<Manifest> {
  const { configurationPath, output, passphrase } = request;
  const parts: [string, PartContent][] = [];
  if (keys !== undefined) parts.push([KEYS_NAME, Buffer.from(keys)]);
  if (configurationPath !== undefined) {
    parts.push([CONFIGURATION_NAME, await readFile(configurationPath)]);
  }
  parts.push([DATABASE_NAME, database]);
  const manifest: Manifest = {
    programVersion: request.programVersion,
    schemaVersion: contents.schemaVersion,
    trustDomain: request.trustDomain,
    createdAt: request.now,
    keyManager: keys === undefined ? "memory" : "disk",
    parts: await Promise.all(parts.map(([name, content]) => describePart(name, content))),
  };
  const content = parts.map(([, one]) => one);
  try {
    await writeFileAtomically(output, archiveBytes(manifest, content, passphrase), 0o600);
  } catch (error) {
    throw writeError(output, error);
  }
  return manifest;
}
