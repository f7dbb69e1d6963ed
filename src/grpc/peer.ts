/**
 * Who is at the other end of a Unix socket, as the kernel vouches for it. The pidfd names the very process that connected and is
 * kept for the life of the connection: as long as it is alive, the pid was never given to another process, so whatever was read
 * about the pid before asking belongs to the caller.
 */
import { ptr } from "bun:ffi";
import { fstatSync, readFileSync, statfsSync } from "node:fs";
import type { Socket } from "node:net";
import { errno, openLibc } from "#ffi/libc.ts";
import { isOwnProc } from "#ffi/own-proc.ts";
import { startTimeOf, statusValues } from "#ffi/process-status.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
const ENOPROTOOPT = 92;
const EINTR = 4;
const SYS_PIDFD_OPEN = 434n;
const POLLIN = 1;

type Libc = ReturnType<typeof load>;
let loaded: Libc | undefined;

function load() {
  return openLibc({
    getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
    poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    syscall: { args: ["i64", "i64", "i64", "i64", "i64"], returns: "i64" },
  });
}

function libc(): Libc {
  loaded ??= load();
  return loaded;
}

export class UnixPeer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  #pidfd: number;
  /** Only where the kernel gave no pidfd of the peer itself: the start time seen first. */
  readonly #startTime: string | undefined;
  #instance: string | undefined;

  constructor(credentials: Credentials, pidfd: number, startTime: string | undefined) {
    this.pid = credentials.pid;
    this.uid = credentials.uid;
    this.gid = credentials.gid;
    this.#pidfd = pidfd;
    this.#startTime = startTime;
  }

  /** Whether the process that connected still runs under its pid. False once the connection is closed. */
  isAlive(): boolean {
    if (this.#pidfd < 0) return false;
    // A pidfd turns readable when its process ends, and stays so when it is reaped (pidfd_open(2)).
    if (isReadable(this.#pidfd)) return false;
    return this.#startTime === undefined || this.#startTime === startTimeOf(this.pid);
  }

  /** Tells the process from every other one of this boot, also from one that is given its pid. */
  get instance(): string {
    this.#instance ??= instanceOf(this.pid, this.#pidfd);
    return this.#instance;
  }

  /** Gives the descriptor back; called when the connection closes. */
  close(): void {
    if (this.#pidfd >= 0) libc().close(this.#pidfd);
    this.#pidfd = -1;
  }
}

/** Of statfs(2) */
const PID_FS_MAGIC = 0x50494446;
let isPidFs: boolean | undefined;

/** Since Linux 6.9 each process has a pidfd inode of its own, which is read in a tenth of the time that /proc takes. */
function instanceOf(pid: number, pidfd: number): string {
  if (pidfd < 0) return `${pid}`;
  isPidFs ??= isOnPidFs(pidfd);
  return isPidFs ? `${pid} ${fstatSync(pidfd).ino}` : `${pid} since ${startTimeOf(pid) ?? ""}`;
}

function isOnPidFs(pidfd: number): boolean {
  try {
    return statfsSync(`/proc/self/fd/${pidfd}`).type === PID_FS_MAGIC;
  } catch {
    return false;
  }
}

/** A pollfd, used again and again: nothing waits in between. Its second word begins with the events; the rest is the kernel's. */
const pollfd = new Int32Array([0, POLLIN]);

/** Also when that cannot be found out. */
function isReadable(fd: number): boolean {
  pollfd[0] = fd;
  pollfd[1] = POLLIN;
  for (;;) {
    const ready = libc().poll(pollfd, 1, 0);
    // A signal, of a profiler for instance, ends a call that has nothing to tell, too (poll(2)): that says nothing of the process.
    if (ready !== -1 || errno() !== EINTR) return ready !== 0;
  }
}

interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Takes the peer of an accepted Unix connection. To be called in the `connection` event itself, while the descriptor is surely open.
 *
 * @param fromOtherNamespaces whether a peer that lives outside this pid namespace will do; its pid is 0, and it counts as not alive
 * @throws StatusError UNAUTHENTICATED when the peer went away, or lives outside where that will not do
 */
export function inspectPeer(socket: Socket, fromOtherNamespaces = false): UnixPeer {
  const fd = descriptorOf(socket);
  if (fd === undefined) throw gone("the connection is closed");
  const credentials = peerCredentials(fd);
  if (credentials.pid <= 0) {
    if (fromOtherNamespaces) return new UnixPeer({ ...credentials, pid: 0 }, -1, undefined);
    throw gone("the process lives outside this pid namespace");
  }
  const option = Buffer.alloc(4);
  const problem = socketOption(fd, SO_PEERPIDFD, option);
  if (problem === 0) return new UnixPeer(credentials, option.readInt32LE(0), undefined);
  if (problem !== ENOPROTOOPT) throw gone(`the process is gone (errno ${problem})`);
  return peerByPid(credentials);
}

/**
 * The user of the process that listens at the other end of a Unix connection, or listened when it was made.
 *
 * @returns undefined when that cannot be found out
 */
export function listenerUid(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  const option = Buffer.alloc(12);
  if (fd === undefined || socketOption(fd, SO_PEERCRED, option) !== 0) return undefined;
  return option.readUInt32LE(4);
}

/** Bun's net.Socket keeps its descriptor where Node's does, in the handle; there is no public name for it. */
function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as {
    readonly _handle?: { readonly fd?: number } | null;
  };
  return handle?.fd === undefined || handle.fd < 0 ? undefined : handle.fd;
}

/**
 * Takes a process by the pid that somebody else gave for it: from here on, alive means that the pid is still the one of the process found
 * now. Close it when done.
 *
 * @returns undefined when there is no such process, or none that we may see
 */
export function openProcess(pid: number): UnixPeer | undefined {
  if (!isOwnProc()) return undefined;
  const pidfd = Number(libc().syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n, 0n, 0n));
  if (pidfd < 0) return undefined;
  const ids = effectiveIdsOf(pid);
  if (ids !== undefined) return new UnixPeer({ pid, ...ids }, pidfd, undefined);
  libc().close(pidfd);
  return undefined;
}

/** Kernels before 6.5: a window between connect and here stays open; the start time narrows it. */
function peerByPid(credentials: Credentials): UnixPeer {
  const pidfd = Number(libc().syscall(SYS_PIDFD_OPEN, BigInt(credentials.pid), 0n, 0n, 0n));
  if (pidfd < 0) throw gone("the process is gone");
  // Absent where /proc hides other users' processes (hidepid, ProtectProc=): then the pidfd alone tells whether it lives.
  const peer = new UnixPeer(credentials, pidfd, startTimeOf(credentials.pid));
  if (peer.isAlive()) return peer;
  peer.close();
  throw gone("the process is gone");
}

function peerCredentials(fd: number): Credentials {
  const option = Buffer.alloc(12);
  const problem = socketOption(fd, SO_PEERCRED, option);
  if (problem !== 0) throw gone(`SO_PEERCRED failed (errno ${problem})`);
  return { pid: option.readInt32LE(0), uid: option.readUInt32LE(4), gid: option.readUInt32LE(8) };
}

function socketOption(fd: number, name: number, out: Buffer): number {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(out.length, 0);
  return libc().getsockopt(fd, SOL_SOCKET, name, ptr(out), ptr(length)) === 0 ? 0 : errno();
}

function effectiveIdsOf(pid: number): Pick<Credentials, "uid" | "gid"> | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    // Real, effective, saved, file system.
    const effective = (label: string): number => Number(statusValues(status, label)[1]);
    return { uid: effective("Uid"), gid: effective("Gid") };
  } catch {
    return undefined;
  }
}

function gone(why: string): StatusError {
  return new StatusError(StatusCode.UNAUTHENTICATED, `could not identify the caller: ${why}`);
}
