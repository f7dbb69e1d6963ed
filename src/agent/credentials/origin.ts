/**
 * For whom systemd asks for a credential: the name that the asking socket is bound to (systemd.exec(5), LoadCredential=), a nul, random
 * characters, `/unit/`, the unit and the credential's ID. Any process may bind such a name, so it is a claim, to be checked.
 */
import { ptr } from "bun:ffi";
import type { Socket } from "node:net";
import { openLibc } from "#ffi/libc.ts";

/** struct sockaddr_un. */
const ADDRESS_BYTES = 110;
const FAMILY_BYTES = 2;
const NAME = /^\0[0-9A-Za-z]+\/unit\/([^/\0]+)\/([^/\0]+)$/;

export interface Origin {
  readonly unit: string;
  readonly credential: string;
}

let loaded: ReturnType<typeof load> | undefined;

function load() {
  return openLibc({ getpeername: { args: ["i32", "ptr", "ptr"], returns: "i32" } });
}

/** What the other end's name claims; undefined when it is none of systemd's. To be called while the socket is surely open. */
export function claimedOrigin(socket: Socket): Origin | undefined {
  // As for the peer's process: Bun's net.Socket has no public name for its descriptor.
  const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle
    ?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const address = Buffer.alloc(ADDRESS_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(ADDRESS_BYTES);
  loaded ??= load();
  if (loaded.getpeername(fd, ptr(address), ptr(length)) !== 0) return undefined;
  const end = Math.min(length.readUInt32LE(), ADDRESS_BYTES);
  return parseOrigin(address.subarray(FAMILY_BYTES, end));
}

/** @param name an abstract name, with the nul it begins with */
export function parseOrigin(name: Uint8Array): Origin | undefined {
  // A name of the file system begins with another byte; the names of units and credentials are ASCII.
  const [, unit, credential] = NAME.exec(Buffer.from(name).toString("latin1")) ?? [];
  return unit === undefined || credential === undefined ? undefined : { unit, credential };
}
