/** Files that exist in memory alone, and that nobody can change any more (memfd_create(2), sealed). */
import { ptr } from "bun:ffi";
import { close, fstatSync, read, write } from "node:fs";
import { promisify } from "node:util";
import { errno, openLibc } from "#ffi/libc.ts";

const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
/** Not executable, Linux 6.3. */
const MFD_NOEXEC_SEAL = 0x8;
const EINVAL = 22;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SEAL = 0x1;
const F_SEAL_SHRINK = 0x2;
const F_SEAL_GROW = 0x4;
const F_SEAL_WRITE = 0x8;
const SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

const readAt = promisify(read);
const writeAt = promisify(write);
const closeDescriptor = promisify(close);

let loaded: ReturnType<typeof load> | undefined;

function load() {
  return openLibc({
    memfd_create: { args: ["ptr", "u32"], returns: "i32" },
    fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  });
}

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/**
 * Puts the bytes into memory of their own and seals it.
 *
 * @param name shown in /proc, without meaning
 * @returns the descriptor, closed on exec; the caller closes it
 * @throws Error
 */
export async function createSealedMemory(name: string, bytes: Uint8Array): Promise<number> {
  const descriptor = createMemory(Buffer.from(`${name}\0`));
  try {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await writeAt(descriptor, bytes, at, bytes.length - at, at);
      at += bytesWritten;
    }
    if (libc().fcntl(descriptor, F_ADD_SEALS, SEALS) !== 0) {
      throw new Error(`memory cannot be sealed (errno ${errno()})`);
    }
    return descriptor;
  } catch (error) {
    await closeDescriptor(descriptor);
    throw error;
  }
}

/** @throws Error when the descriptor is anything but sealed memory, or holds more than `limitBytes` */
export async function readSealedMemory(
  descriptor: number,
  limitBytes: number,
): Promise<Uint8Array> {
  // Only memory has seals to tell; all of them set means that it is what its writer left.
  const seals = libc().fcntl(descriptor, F_GET_SEALS, 0);
  const stat = fstatSync(descriptor);
  if (seals < 0 || (seals & SEALS) !== SEALS || !stat.isFile()) {
    throw new Error("it is not sealed memory");
  }
  if (stat.size > limitBytes) throw new Error(`it is larger than ${limitBytes} bytes`);
  const bytes = Buffer.alloc(stat.size);
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await readAt(descriptor, bytes, at, bytes.length - at, at);
    if (bytesRead === 0) throw new Error("it ends early");
    at += bytesRead;
  }
  return bytes;
}

function createMemory(name: Buffer): number {
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  let descriptor = libc().memfd_create(ptr(name), flags | MFD_NOEXEC_SEAL);
  if (descriptor < 0 && errno() === EINVAL) descriptor = libc().memfd_create(ptr(name), flags);
  if (descriptor < 0) throw new Error(`no memory file (errno ${errno()})`);
  return descriptor;
}
