/**
 * The door to the C library, for the few system calls that Bun has no words for. Callers: file locks, peer credentials.
 */
import { dlopen, type FFIFunction, type Library } from "bun:ffi";

/** Debian and most others; then musl's name on either machine. */
const NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/**
 * Opens the C library with those functions.
 *
 * @throws Error when there is none; its message has the names that were tried
 */
export function openLibc<T extends Record<string, FFIFunction>>(symbols: T): Library<T>["symbols"] {
  for (const name of NAMES) {
    try {
      return dlopen(name, symbols).symbols;
    } catch {
      // The other C library, then.
    }
  }
  throw new Error(`the C library cannot be opened (tried ${NAMES.join(", ")})`);
}
