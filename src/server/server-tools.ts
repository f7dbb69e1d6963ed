import type { Worker } from "node:worker_threads";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";

/** What every part of the server works with. */
export interface ServerTools {
  readonly log: Log;
  /** What figures say of the program. */
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Of the datastore, when it was started ahead. */
  readonly writerThread?: Worker;
}

/** The log of one part of the server. */
export function subsystem({ log }: Pick<ServerTools, "log">, name: string): Log {
  return log.with({ subsystem_name: name });
}
