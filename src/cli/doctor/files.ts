/** Checks of what lies on disk: who owns it, who may read it, whether there is room. */
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  type Stats,
  statfsSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** A daemon that finds nothing begins anew, which is right once and a disaster later. */
const MISSING =
  "before the first start of a daemon that is as it should be; else put it back or restore a backup before the daemon is started again: it would begin anew, a server with a CA that no agent trusts and without entries, an agent without its place; or set data_dir to where it is";
const WRITABLE =
  "the kernel's log (dmesg) may say why: an error of the disk wants it checked (fsck) first; then mount it writable again, and restart the daemon";
const MIB = 1024 * 1024;
const MIN_BYTES = 64 * MIB;
const FEW_BYTES = 512 * MIB;
const FEW_FILES = 1000;

const OTHERS = 0o007;
const GROUP_AND_OTHERS = 0o077;
const WRITE_BY_OTHERS = 0o022;

/**
 * A directory that the daemon keeps its data in: for its owner, at most to be looked into by a group.
 *
 * @param lock the name of the daemon's lock file in it
 */
export function checkDataDirectory(path: string, lock: string): readonly Finding[] {
  const check = "data_directory";
  const found = statOf(path);
  if (found === undefined) {
    return [fail(check, `${path} is not there`, MISSING)];
  }
  if (!found.isDirectory()) {
    return [fail(check, `${path} is not a directory`, "set data_dir to a directory")];
  }
  const mode = modeOf(found);
  const shown = `${path}, mode ${octal(mode)}, of user ${found.uid}`;
  if ((mode & WRITE_BY_OTHERS) !== 0) {
    return [fail(check, `${shown}, can be written to by others`, `chmod 0700 ${path}`)];
  }
  if ((mode & OTHERS) !== 0) {
    return [warn(check, `${shown}, can be looked into by everybody`, `chmod 0700 ${path}`)];
  }
  if (isReadOnly(path, lock)) {
    return [fail(check, `${shown}, takes no changes: its file system is read-only`, WRITABLE)];
  }
  return [ok(check, shown)];
}

/** The mount may look writable where the kernel has given the file system up; to open a file for writing shows it, and changes nothing. */
function isReadOnly(directory: string, lock: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    closeSync(openSync(join(directory, lock), constants.O_RDWR));
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EROFS";
  }
}

/**
 * A file with secrets: for its owner alone, and the owner is whom the data directory belongs to. Nothing is found where there is no file.
 *
 * @param owner the user that the daemon runs as; undefined when that is not known
 */
export function checkPrivateFile(
  check: string,
  path: string,
  owner: number | undefined,
): readonly Finding[] {
  const found = statOf(path);
  if (found === undefined) return [];
  const mode = modeOf(found);
  const shown = `${path}, mode ${octal(mode)}, of user ${found.uid}`;
  if ((mode & GROUP_AND_OTHERS) !== 0) {
    const advice = `chmod 0600 ${path}, and judge who may have read it: what it holds may have to be replaced`;
    return [fail(check, `${shown}, is open to others`, advice)];
  }
  if (owner !== undefined && owner !== found.uid && owner !== 0) {
    const message = `${shown}, does not belong to user ${owner} as the data directory does`;
    return [fail(check, message, `chown ${owner} ${path}`)];
  }
  return [ok(check, shown)];
}

/** The user that a path belongs to; undefined when it is not there. */
export function ownerOf(path: string): number | undefined {
  return statOf(path)?.uid;
}

/** @param allowed the permission bits that the socket may have */
export function checkSocketFile(check: string, path: string, allowed: number): readonly Finding[] {
  const found = statOf(path);
  if (found === undefined) {
    return [
      fail(
        check,
        `${path} is not there`,
        "start the daemon, or give the path it uses (-socketPath)",
      ),
    ];
  }
  if (!found.isSocket()) {
    return [fail(check, `${path} is not a socket`, "move it away, and restart the daemon")];
  }
  const mode = modeOf(found);
  if ((mode & ~allowed) !== 0) {
    const advice = `chmod ${octal(allowed)} ${path}; where systemd makes the socket, set SocketMode=${octal(allowed)}`;
    return [fail(check, `${path} has mode ${octal(mode)}: others may use it`, advice)];
  }
  return [ok(check, `${path}, mode ${octal(mode)}`)];
}

/** @param path a directory, or one that is to be made */
export function checkDiskSpace(path: string): readonly Finding[] {
  const check = "disk_space";
  const directory = existing(path);
  const { bavail, bsize, ffree, files } = statfsSync(directory);
  const free = bavail * bsize;
  const shown = `${Math.floor(free / MIB)} MiB are free below ${directory}`;
  const advice = "make room: what is stored there grows with entries, nodes and logs";
  if (free < MIN_BYTES) return [fail(check, shown, advice)];
  if (files > 0 && ffree < FEW_FILES) {
    return [warn(check, `only ${ffree} more files fit below ${directory}`, advice)];
  }
  return [free < FEW_BYTES ? warn(check, shown, advice) : ok(check, shown)];
}

function existing(path: string): string {
  let found = path;
  while (statOf(found) === undefined && dirname(found) !== found) found = dirname(found);
  return found;
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function modeOf({ mode }: Stats): number {
  return mode & 0o777;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
