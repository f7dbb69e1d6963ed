/**
 * The machine as process 1 sees it: its root directory, its mount namespace, and the user namespace that the latter belongs to. What is so
 * there, nobody but the machine's root can have arranged. An agent that may not look at process 1 takes itself for the machine.
 */
import { closeSync, constants, fstatSync, openSync, readlinkSync, statSync } from "node:fs";
import { open, readFile, readlink } from "node:fs/promises";
import { FairQueue } from "#clock/fair-queue.ts";
import {
  CannotLookUpError,
  type FileStatus,
  lookUp,
  makerOf,
  O_PATH,
  ownerOf,
  statusOf,
} from "./kernel.ts";
import { isHiding } from "./process.ts";

/** Where a kernel makes us wait for a look, no more than one thread waits. */
const slowLooks = new FairQueue<string>({
  running: 1,
  runningPerKey: 1,
  waiting: 1000,
  waitingPerKey: 1000,
});

/** A process's view of the files: process 1's, or that of the process which is looked at. */
export class View {
  /** `/proc/PID` */
  readonly process: string;
  readonly #root: number;

  /** @throws Error with the code of the system call */
  constructor(process: string) {
    this.process = process;
    this.#root = openSync(`${process}/root`, O_PATH);
  }

  /** What is at that absolute path, no link on the way followed; undefined when nothing is, or that cannot be said without waiting. */
  async at(path: string, signal: AbortSignal): Promise<FileStatus | undefined> {
    const found = await this.#lookUp(path, signal);
    return found !== undefined && isLink(found) ? undefined : found;
  }

  async #lookUp(path: string, signal: AbortSignal): Promise<FileStatus | undefined> {
    try {
      return lookUp(this.#root, path);
    } catch (error) {
      if (!(error instanceof CannotLookUpError)) throw error;
      return slowLooks.run("", signal, () => lookUpSlowly(`${this.process}/root`, path));
    }
  }

  /** Its root directory. */
  get root(): FileStatus {
    return statusOf(this.#root);
  }

  [Symbol.dispose](): void {
    closeSync(this.#root);
  }
}

function isLink({ mode }: FileStatus): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFLNK;
}

/** @returns undefined as well when a link was followed on the way: the path is another then */
export async function lookUpSlowly(root: string, path: string): Promise<FileStatus | undefined> {
  const handle = await open(`${root}${path}`, O_PATH | constants.O_NOFOLLOW).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const isSame = (await readlink(`/proc/self/fd/${handle.fd}`)) === path;
    return isSame ? statusOf(handle.fd) : undefined;
  } finally {
    await handle.close();
  }
}

/** @throws Error when neither can be looked at */
export function openMachine(): View {
  try {
    return new View("/proc/1");
  } catch (error) {
    if (!isHiding(error)) throw error;
    return new View("/proc/self");
  }
}

/**
 * Whose mounts a process sees: the machine's very own, some that the machine's root made for it, or those of somebody who may be anybody.
 * Whoever makes a user namespace, which any user may, is root in it and can mount there what he likes.
 */
export function mountsOf(process: string, machine: View): "machine" | "root" | "anybody" {
  const namespace = `${process}/ns/mnt`;
  if (readlinkSync(namespace) === readlinkSync(`${machine.process}/ns/mnt`)) return "machine";
  const descriptor = openSync(namespace, constants.O_RDONLY);
  try {
    const owner = ownerOf(descriptor);
    return owner === statSync(`${machine.process}/ns/user`).ino ? "root" : "anybody";
  } finally {
    closeSync(descriptor);
  }
}

/**
 * On whose account work for a process goes: on that of its user, or of the one who made its user namespace. There a user can be as many as
 * he has subordinate ids (subuid(5)), and still is one.
 */
export function accountOf(process: string, uid: number, machine: View): number {
  const descriptor = openSync(`${process}/ns/user`, constants.O_RDONLY);
  try {
    const outer = statSync(`${machine.process}/ns/user`).ino;
    if (fstatSync(descriptor).ino === outer) return uid;
    return makerOf(descriptor, outer) ?? uid;
  } finally {
    closeSync(descriptor);
  }
}

/** Whether the process sees the machine's root directory as its own, from the top of its mount namespace. */
export function hasMachineRoot(view: View, machine: View): boolean {
  return readlinkSync(`${view.process}/root`) === "/" && view.root.file === machine.root.file;
}

/**
 * The type of the file system of a mount and its options, by the mounts that a process can reach (proc_pid_mountinfo(5)).
 *
 * @returns undefined when it is none of these
 */
export async function fileSystemOf(
  mount: number,
  process: string,
): Promise<{ readonly type: string; readonly options: readonly string[] } | undefined> {
  const table = await readFile(`${process}/mountinfo`, "latin1");
  for (const line of table.split("\n")) {
    if (!line.startsWith(`${mount} `)) continue;
    const [type = "", , options = ""] = line.slice(line.indexOf(" - ") + 3).split(" ");
    return { type, options: options.split(",") };
  }
  return undefined;
}
