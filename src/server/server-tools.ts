import type { Worker } from "node:worker_threads";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import type { ServerConfig } from "#server/config/config.ts";
import { formatHostPort } from "#spiffe/host-port.ts";

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

/** What runs, and where it keeps what it has: the first line of its life. */
export function tellStart(config: ServerConfig, { log, version }: ServerTools): void {
  const { dataStore } = config.plugins;
  log.info("Starting server", {
    version,
    trust_domain_id: config.trustDomain.id,
    address: formatHostPort({ host: config.bindAddress, port: config.bindPort }),
    socket_path: config.socketPath,
    data_dir: config.dataDir,
    datastore: `${dataStore.databaseType} ${dataStore.connectionString}`,
  });
}
