/**
 * The audit log: a line for each call, or for each item of a batch, with the field names of the reference. It is written
 * to the ordinary log, and only when `audit_log_enabled` is set; calls that only read and are let in, when `audit_log_reads` is set as well.
 */
import { readlink } from "node:fs/promises";
import type { Log, LogFields } from "#log/log.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { StatusCode, type StatusError, statusCodeName } from "#spiffe/status-error.ts";
import type { CallerIdentity } from "./caller-identity.ts";

const MESSAGE = "API accessed";

/** Where it is written. */
interface AuditLogs {
  readonly successes: Log;
  /** Of a caller that fails in a loop, not every line. */
  readonly failures: Log;
}

/** What is written down about one call. */
export class AuditTrail {
  readonly #logs: AuditLogs | undefined;
  readonly #onlyFailures: boolean;
  #fields: LogFields = {};
  #itemised = false;

  /**
   * @param logs undefined when nothing is to be written
   * @param onlyFailures for a call that reads, where only those that fail are of interest
   */
  constructor(logs: AuditLogs | undefined, onlyFailures = false) {
    this.#logs = logs;
    this.#onlyFailures = onlyFailures;
  }

  /** Adds what is known about the request. A secret never goes here; a CSR or key goes as its fingerprint. */
  add(fields: LogFields): void {
    if (this.#logs !== undefined) this.#fields = { ...this.#fields, ...fields };
  }

  /**
   * Writes the line of one item of a batch; the call gets no line of its own then, unless it fails as a whole.
   *
   * @param describe the fields of the line, asked for only where it is written
   */
  item(status: Status, describe: () => LogFields): void {
    this.#itemised = true;
    const { code, message } = status;
    if (this.#onlyFailures && code === StatusCode.OK) return;
    const log = code === StatusCode.OK ? this.#logs?.successes : this.#logs?.failures;
    log?.info(MESSAGE, { ...describe(), ...outcome(code, message) });
  }

  succeeded(): void {
    if (this.#itemised || this.#onlyFailures) return;
    this.#logs?.successes.info(MESSAGE, { ...this.#fields, ...outcome(StatusCode.OK, "") });
  }

  failed(error: StatusError): void {
    this.#logs?.failures.info(MESSAGE, { ...this.#fields, ...outcome(error.code, error.message) });
  }
}

/** Whether a method changes nothing. @param path as on the wire */
export function isRead(path: string): boolean {
  return /\/(?:Get|List|Count|Sync|Watch)\w*$/.test(path);
}

/** The fields that tell a local caller: user, group, and the executable while it can still be read; or that its process is of another pid namespace. */
export async function localCallerFields(identity: CallerIdentity): Promise<LogFields> {
  if (identity.kind !== "local") return {};
  const { pid, uid, gid } = identity.peer;
  // Its pid would be of another pid namespace, where it means another process or none.
  if (pid === 0) return { caller_uid: uid, caller_gid: gid, caller_pid_namespace: "other" };
  const path = await readlink(`/proc/${pid}/exe`).catch(() => undefined);
  return {
    caller_uid: uid,
    caller_gid: gid,
    ...(path !== undefined && identity.peer.isAlive() ? { caller_path: path } : {}),
  };
}

function outcome(code: number, message: string): LogFields {
  if (code === StatusCode.OK) return { type: "audit", status: "success" };
  return {
    type: "audit",
    status: "error",
    status_code: statusCodeName(code) ?? String(code),
    status_message: message,
  };
}
