/**
 * The door to the C library, for the few system calls that Bun has no words for. Callers: file locks, peer credentials, the service
 * manager's datagrams, sealed memory.
 */
import { dlopen, type FFIFunction, type Library, read } from "bun:ffi";

/** Of glibc. To musl any name that begins with "libc." is itself, whatever files there are. */
const NAME = "libc.so.6";

/** Bun has no calls into C without memory that is both written to and executed. */
const NO_COMPILER =
  "the C library cannot be called: the runtime's compiler is switched off; take MemoryDenyWriteExecute= out of the unit, and BUN_JSC_useJIT out of the environment";

/**
 * Opens the C library with those functions.
 *
 * @throws Error when there is none, with its name, or saying what forbids the call
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
  try {
    return dlopen(NAME, symbols).symbols;
  } catch (error) {
    if (String(error).includes("JIT")) throw new Error(NO_COMPILER, { cause: error });
    throw new Error(`the C library (${NAME}) cannot be opened`, { cause: error });
  }
}
