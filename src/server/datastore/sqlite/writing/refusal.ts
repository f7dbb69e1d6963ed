import { SQLiteError } from "bun:sqlite";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

/** An error in a form that crosses between threads. */
export interface Refusal {
  readonly code: StatusCode;
  readonly message: string;
  /** What SQLite says when the store itself failed; absent when a rule of ours refused the write. */
  readonly fault?: { readonly code: string };
}

export function refusalOf(error: unknown): Refusal {
  if (error instanceof StatusError) return { code: error.code, message: error.message };
  return {
    code: isDiskFull(error) ? StatusCode.RESOURCE_EXHAUSTED : StatusCode.INTERNAL,
    message: `datastore: ${errorText(error)}`,
    fault: { code: error instanceof SQLiteError ? (error.code ?? "") : "" },
  };
}

export function isDiskFull(error: unknown): boolean {
  return error instanceof SQLiteError && (error.errno & 0xff) === SQLITE_FULL;
}

export function refusalError({ code, message }: Refusal): StatusError {
  return new StatusError(code, message);
}

const SQLITE_FULL = 13;
