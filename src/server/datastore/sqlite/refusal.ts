import { SQLiteError } from "bun:sqlite";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

/** An error in a form that crosses between threads. */
export interface Refusal {
  readonly code: StatusCode;
  readonly message: string;
}

export function refusalOf(error: unknown): Refusal {
  if (error instanceof StatusError) return { code: error.code, message: error.message };
  const full = error instanceof SQLiteError && (error.errno & 0xff) === SQLITE_FULL;
  return {
    code: full ? StatusCode.RESOURCE_EXHAUSTED : StatusCode.INTERNAL,
    message: `datastore: ${errorText(error)}`,
  };
}

export function refusalError({ code, message }: Refusal): StatusError {
  return new StatusError(code, message);
}

const SQLITE_FULL = 13;
