/**
 * What the kernel says of files and namespaces, in calls that Bun has no words for. None of them waits: neither for a disk, nor for a file
 * system that somebody else serves (FUSE, NFS) and may never answer, as the event loop would wait with them.
 */
import { ptr } from "bun:ffi";
import { closeSync, constants, fstatSync, readFileSync } from "node:fs";
import { errno, openLibc } from "#ffi/libc.ts";

/** open(2): a descriptor that only names a file; it takes no right to read it, and asks its file system nothing. */
export const O_PATH = 0o10000000;

const SYS_STATX = process.arch === "arm64" ? 291n : 332n;
const SYS_OPENAT2 = 437n;
const STATX_BYTES = 256;
/** Type, mode, links, owner, inode, size, blocks and times (STATX_BASIC_STATS), and the mount's ID. */
const STATX_MASK = 0x17ffn;
const STATX_MNT_ID = 0x1000;
const AT_EMPTY_PATH = 0x1000n;
/** What is known already: no file system is asked. */
const AT_STATX_DONT_SYNC = 0x4000n;

const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_NO_SYMLINKS = 0x04n;
const RESOLVE_IN_ROOT = 0x10n;
/** Only what is in the kernel's memory; EAGAIN otherwise. Linux 5.12. */
const RESOLVE_CACHED = 0x20n;
const EINVAL = 22;
const ENOSYS = 38;

/** _IO(0xb7, …): the user namespace that owns a namespace, the one that a user namespace is in, and who made it (ioctl_ns(2)). */
const NS_GET_USERNS = 0xb701n;
const NS_GET_PARENT = 0xb702n;
const NS_GET_OWNER_UID = 0xb704n;

type Libc = ReturnType<typeof load>;
let loaded: Libc | undefined;

function load() {
  return openLibc({
    syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
    ioctl: { args: ["i32", "u64", "u64"], returns: "i32" },
  });
}

function libc(): Libc {
  loaded ??= load();
  return loaded;
}

export interface FileStatus {
  /** The same text means the same file. */
  readonly file: string;
  /** The file, its size and its times: the same text means the same content. */
  readonly version: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes that are stored: less than the size where there are holes, or where the file system compresses. */
  readonly stored: number;
  readonly links: number;
  readonly uid: number;
  readonly mode: number;
  /** Milliseconds since the Unix epoch: when content or owner, mode or links were last changed. */
  readonly changedMs: number;
  /** The device the file is on: the same for all files of a file system. */
  readonly device: string;
  /** No other mount of any namespace has it at the same time. */
  readonly mount: number;
}

/** Of an open descriptor. @throws Error with the name of what failed */
export function statusOf(descriptor: number): FileStatus {
  const out = Buffer.alloc(STATX_BYTES);
  const empty = Buffer.alloc(1);
  const failed = libc().syscall(
    SYS_STATX,
    BigInt(descriptor),
    BigInt(ptr(empty)),
    AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
    STATX_MASK,
    BigInt(ptr(out)),
  );
  if (failed !== 0n) throw new Error(`statx failed (errno ${errno()})`);
  const device = `${out.readUInt32LE(136)}:${out.readUInt32LE(140)}`;
  const file = `${device}.${out.readBigUInt64LE(32)}`;
  const size = out.readBigUInt64LE(40);
  const time = (at: number): string => `${out.readBigInt64LE(at)}.${out.readUInt32LE(at + 8)}`;
  return {
    file,
    version: `${file}.${size}.${time(112)}.${time(96)}`,
    size: Number(size),
    stored: Number(out.readBigUInt64LE(48)) * 512,
    links: out.readUInt32LE(16),
    uid: out.readUInt32LE(20),
    mode: out.readUInt16LE(28),
    changedMs: Number(out.readBigInt64LE(96)) * 1000 + out.readUInt32LE(104) / 1e6,
    device,
    mount:
      (out.readUInt32LE(0) & STATX_MNT_ID) === 0
        ? mountOf(descriptor)
        : Number(out.readBigUInt64LE(144)),
  };
}

/** Kernels before 5.8 tell the mount there alone (proc(5)). */
function mountOf(descriptor: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1");
  return Number(/^mnt_id:\s*(\d+)/m.exec(text)?.[1] ?? -1);
}

/** The kernel is too old to look a path up without waiting. */
export class CannotLookUpError extends Error {
  override readonly name: string = "CannotLookUpError";
}

/**
 * What is at a path below a directory that is taken for the root, no link on the way followed.
 *
 * @param path absolute
 * @returns undefined when nothing is there, or that cannot be said without waiting
 * @throws CannotLookUpError on kernels before 5.12
 */
export function lookUp(root: number, path: string): FileStatus | undefined {
  const name = Buffer.from(`${path}\0`);
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(O_PATH | constants.O_NOFOLLOW | 0o2000000), 0);
  how.writeBigUInt64LE(
    RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED,
    16,
  );
  const opened = Number(
    libc().syscall(
      SYS_OPENAT2,
      BigInt(root),
      BigInt(ptr(name)),
      BigInt(ptr(how)),
      BigInt(how.length),
      0n,
    ),
  );
  if (opened < 0) {
    const problem = errno();
    if (problem === ENOSYS || problem === EINVAL) throw new CannotLookUpError("openat2");
    return undefined;
  }
  try {
    return statusOf(opened);
  } finally {
    closeSync(opened);
  }
}

/** The inode of the user namespace that owns a namespace; undefined when it is none that we are part of or above. */
export function ownerOf(namespace: number): number | undefined {
  const owner = libc().ioctl(namespace, NS_GET_USERNS, 0n);
  if (owner < 0) return undefined;
  try {
    return fstatSync(owner).ino;
  } finally {
    closeSync(owner);
  }
}

/**
 * The user who made a user namespace, or the outermost of those that it is in, below the given one.
 *
 * @param outer the inode of a user namespace
 * @returns undefined when it is not in that one
 */
export function makerOf(namespace: number, outer: number): number | undefined {
  const parent = libc().ioctl(namespace, NS_GET_PARENT, 0n);
  if (parent < 0) return undefined;
  try {
    if (fstatSync(parent).ino !== outer) return makerOf(parent, outer);
    const uid = Buffer.alloc(4);
    const failed = libc().ioctl(namespace, NS_GET_OWNER_UID, BigInt(ptr(uid)));
    return failed === 0 ? uid.readUInt32LE(0) : undefined;
  } finally {
    closeSync(parent);
  }
}
