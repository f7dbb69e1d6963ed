/**
 * Where an executable comes from. The path that the kernel gives is the one in the process's own mount namespace: whoever makes such a
 * namespace has any path he likes in it, and so has root in a container. It counts where nobody but the machine's root can have arranged it.
 */
import { dirname } from "node:path";
import type { Executable } from "./executable.ts";
import type { FileStatus } from "./kernel.ts";
import { hasMachineRoot, mountsOf, openMachine, View } from "./machine.ts";

export interface Origin {
  /** What the selector says; undefined when it is not given. */
  readonly path: string | undefined;
  /** Whether its file system was mounted by root, or by whom root let: it then has these bytes for everybody. */
  readonly isOfMachine: boolean;
  /** The mount that it is on, and a process of which that is to be asked. */
  readonly mount: number;
  readonly seenBy: string;
}

const OTHERS_MAY_WRITE = 0o022;

/** @throws Error when the process, or process 1, cannot be looked at */
export async function originOf(
  pid: number,
  executable: Executable,
  signal: AbortSignal,
): Promise<Origin> {
  using machine = openMachine();
  const { path, status } = executable;
  const seen = await machine.at(path, signal);
  if (seen?.file === status.file) {
    return { path, isOfMachine: true, mount: seen.mount, seenBy: machine.process };
  }
  const process = `/proc/${pid}`;
  const mounts = mountsOf(process, machine);
  const { mount } = status;
  const origin = { path: undefined, isOfMachine: mounts !== "anybody", mount };
  if (mounts === "machine") {
    const given = await attachedPath(machine, executable, signal);
    return { ...origin, path: given, seenBy: machine.process };
  }
  using own = new View(process);
  const isTrusted = mounts === "root" && hasMachineRoot(own, machine);
  const given = isTrusted ? await attachedPath(own, executable, signal) : undefined;
  return { ...origin, path: given, seenBy: process };
}

/**
 * The path of a file that is not at its path any more, or that only its process's view has there, when it is on a mount of that view: of one
 * that was taken out, the kernel gives a path without the place where it was mounted.
 */
async function attachedPath(
  view: View,
  { path, formerPath = path, status }: Executable,
  signal: AbortSignal,
): Promise<string | undefined> {
  const directory = dirname(formerPath);
  const found = await view.at(directory, signal);
  if (path !== formerPath && !wasDeleted(status, found)) return undefined;
  const isAttached = await isOnMount(view, directory, found, status.mount, signal);
  return isAttached ? formerPath : undefined;
}

/** Whether the kernel wrote the end of the path, and nobody gave the file that name. */
function wasDeleted({ links }: FileStatus, directory: FileStatus | undefined): boolean {
  if (links === 0) return true;
  // Another hard link to it is left: then only root could have made a file of that name.
  return directory?.uid === 0 && (directory.mode & OTHERS_MAY_WRITE) === 0;
}

/** The directory may be gone with the file; then one above it tells. */
async function isOnMount(
  view: View,
  directory: string,
  found: FileStatus | undefined,
  mount: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (found !== undefined) return found.mount === mount;
  if (directory === "/") return false;
  const above = dirname(directory);
  return isOnMount(view, above, await view.at(above, signal), mount, signal);
}
