/**
 * One datagram to systemd, sent from this very process: to the service manager (sd_notify(3)) what the program systemd-notify cannot say,
 * and file descriptors; to the journal. Knows nothing of what the messages mean.
 */
import { ptr } from "bun:ffi";
import { errno, openLibc } from "#ffi/libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const CLOCK_MONOTONIC = 1;
/** sun_path has 108 bytes; a path needs one of them for its end. */
const MAX_ADDRESS_BYTES = 107;

let loaded: ReturnType<typeof load> | undefined;

function load() {
  return openLibc({
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    sendmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
    clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
  });
}

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/**
 * Sends a message, without waiting when the receiver's queue is full.
 *
 * @param address such as the value of NOTIFY_SOCKET: a path, or `@` and an abstract name
 * @param descriptors file descriptors that go along; they stay open here
 * @throws Error when the address is none or the message cannot be sent
 */
export function sendDatagram(
  address: string,
  message: string | Uint8Array,
  descriptors: readonly number[] = [],
): void {
  const name = socketAddress(address);
  const text = typeof message === "string" ? Buffer.from(message) : message;
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(ptr(text)), 0);
  vector.writeBigUInt64LE(BigInt(text.length), 8);
  const control = controlMessage(descriptors);
  // struct msghdr of a 64-bit Linux: name, its length, vectors, their count, control, its length, flags.
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(BigInt(ptr(name)), 0);
  header.writeUInt32LE(name.length, 8);
  header.writeBigUInt64LE(BigInt(ptr(vector)), 16);
  header.writeBigUInt64LE(1n, 24);
  if (control !== undefined) {
    header.writeBigUInt64LE(BigInt(ptr(control)), 32);
    header.writeBigUInt64LE(BigInt(control.length), 40);
  }
  send(header);
  // The header names them by address alone; without this the collector might take them before the call.
  void [name, text, vector, control];
}

/** What CLOCK_MONOTONIC says, in microseconds; `process.hrtime` counts from another moment. */
export function monotonicMicroseconds(): bigint {
  const time = Buffer.alloc(16);
  libc().clock_gettime(CLOCK_MONOTONIC, ptr(time));
  return time.readBigInt64LE(0) * 1_000_000n + time.readBigInt64LE(8) / 1000n;
}

function send(header: Buffer): void {
  const socket = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) throw new Error(`no socket (errno ${errno()})`);
  try {
    if (Number(libc().sendmsg(socket, ptr(header), MSG_NOSIGNAL | MSG_DONTWAIT)) < 0) {
      throw new Error(`the message was not taken (errno ${errno()})`);
    }
  } finally {
    libc().close(socket);
  }
}

/** struct sockaddr_un, as long as it is used: an abstract name has no end but its length. */
function socketAddress(address: string): Buffer {
  const path = Buffer.from(address);
  const abstract = address.startsWith("@");
  if ((!abstract && !address.startsWith("/")) || path.length > MAX_ADDRESS_BYTES) {
    throw new Error(`the socket ${JSON.stringify(address)} is no path and no abstract name`);
  }
  const name = Buffer.alloc(2 + path.length + (abstract ? 0 : 1));
  name.writeUInt16LE(AF_UNIX, 0);
  path.copy(name, 2);
  if (abstract) name[2] = 0;
  return name;
}

/** struct cmsghdr with the descriptors, padded to its alignment. */
function controlMessage(descriptors: readonly number[]): Buffer | undefined {
  if (descriptors.length === 0) return undefined;
  const length = 16 + 4 * descriptors.length;
  const control = Buffer.alloc(Math.ceil(length / 8) * 8);
  control.writeBigUInt64LE(BigInt(length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  descriptors.forEach((descriptor, index) => {
    control.writeInt32LE(descriptor, 16 + 4 * index);
  });
  return control;
}
