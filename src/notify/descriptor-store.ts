/**
 * systemd's descriptor store: file descriptors that a service leaves with the service manager and is given back when it starts again
 * (sd_pid_notify_with_fds(3), sd_listen_fds(3)). The unit allows it by FileDescriptorStoreMax=.
 */
import { openLibc } from "#ffi/libc.ts";
import type { Log } from "#log/log.ts";
import { sendDatagram } from "./datagram.ts";
import type { ServiceEnvironment } from "./systemd.ts";

const FIRST_DESCRIPTOR = 3;
const MAX_DESCRIPTORS = 4096;
const F_SETFD = 2;
const FD_CLOEXEC = 1;

export interface StoredDescriptor {
  readonly name: string;
  readonly descriptor: number;
}

export interface DescriptorStore {
  /** What was given back at the start; open, and the taker's to close. */
  readonly given: readonly StoredDescriptor[];
  /** Leaves a copy of the descriptor; the name may hold no colon. @throws Error when systemd cannot be told */
  add(name: string, descriptor: number): void;
  /** Takes all copies of that name away. @throws Error when systemd cannot be told */
  remove(name: string): void;
}

/** @returns undefined when systemd does not listen. To be called once, before any child process starts. */
export function openDescriptorStore(
  environment: ServiceEnvironment,
  log: Log,
): DescriptorStore | undefined {
  const socket = environment["NOTIFY_SOCKET"];
  if (socket === undefined || socket === "") return undefined;
  return {
    given: given(environment, log),
    add: (name, descriptor) => sendDatagram(socket, `FDSTORE=1\nFDNAME=${name}`, [descriptor]),
    remove: (name) => sendDatagram(socket, `FDSTOREREMOVE=1\nFDNAME=${name}`),
  };
}

function given(environment: ServiceEnvironment, log: Log): StoredDescriptor[] {
  // Another process that passed its environment on was meant, not this one.
  if (Number(environment["LISTEN_PID"]) !== process.pid) return [];
  const count = Number(environment["LISTEN_FDS"]);
  if (!Number.isInteger(count) || count < 0 || count > MAX_DESCRIPTORS) return [];
  const names = (environment["LISTEN_FDNAMES"] ?? "").split(":");
  try {
    const libc = openLibc({ fcntl: { args: ["i32", "i32", "i32"], returns: "i32" } });
    return Array.from({ length: count }, (_none, index) => ({
      name: names[index] ?? "",
      descriptor: FIRST_DESCRIPTOR + index,
    })).filter(({ descriptor }) => libc.fcntl(descriptor, F_SETFD, FD_CLOEXEC) === 0);
  } catch (error) {
    log.warn("Unable to use the file descriptors stored by systemd", { error });
    return [];
  }
}
