/**
 * The door to the C library, for the few system calls that Bun has no words for. Callers: file locks, peer credentials, the service
 * manager's datagrams, sealed memory.
 */
import { dlopen, type FFIFunction, type Library, read } from "bun:ffi";

/** Debian and most others; then musl's name on either machine. */
const NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** Bun has no calls into C without memory that is both written to and executed. */
const NO_COMPILER =
  "the C library cannot be called: the runtime's compiler is switched off; take MemoryDenyWriteExecute= out of the unit, and BUN_JSC_useJIT out of the environment";

/**
 * Opens the C library with those functions.
 *
 * @throws Error when there is none, with the names that were tried, or saying what forbids the call
 */
export function openLibc<T extends Record<string, FFIFunction>>(symbols: T): Library<T>["symbols"] {
  // Looked up beforehand: a lookup between a failed call and the question for its error could change the answer.
  errorNumber ??= openErrorNumber();
  return open(symbols);
}

/** The error number of the last call that failed; to be asked at once, before anything else is called. */
export function errno(): number {
  return errorNumber?.() ?? 0;
}

let errorNumber: (() => number) | undefined;

function openErrorNumber(): () => number {
  const { __errno_location: locate } = open({ __errno_location: { args: [], returns: "ptr" } });
  return () => {
    const location = locate();
    return location === null ? 0 : read.i32(location);
  };
}

function open<T extends Record<string, FFIFunction>>(symbols: T): Library<T>["symbols"] {
  for (const name of NAMES) {
    try {
      return dlopen(name, symbols).symbols;
    } catch (error) {
      if (String(error).includes("JIT")) throw new Error(NO_COMPILER, { cause: error });
      // The other C library, then.
    }
  }
  throw new Error(`the C library cannot be opened (tried ${NAMES.join(", ")})`);
}
