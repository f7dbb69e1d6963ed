/** A server that was started, in the hands of whoever started it. */
import type { Log } from "#log/log.ts";
import type { StatusSource } from "#notify/status-line.ts";
import type { ServerConfig } from "#server/config/config.ts";

export interface RunningServer {
  /** Where agents connect, or are to connect, `host:port`. */
  readonly address: string;
  /** Resolves once the server has stopped, whoever stopped it. */
  readonly stopped: Promise<void>;
  /** Reads the files of plugins' data again. */
  reconfigure(): Promise<void>;
  /** Takes over what it can of a configuration that was read again, and names in the log what needs a restart. */
  reload(next: ServerConfig): Promise<void>;
  readonly status: StatusSource;
  /** Ends streams, waits at most ten seconds for calls under way, and closes the store. */
  stop(): Promise<void>;
}

/** What is asked of a server while it runs. */
export type Live = Pick<RunningServer, "reconfigure" | "reload" | "status">;

/** @param parts all that is to be taken down when it stops */
export function running(
  address: string,
  live: Live,
  parts: AsyncDisposableStack,
  log: Log,
): RunningServer {
  const { promise: stopped, resolve, reject } = Promise.withResolvers<void>();
  let stopping = false;
  const stop = (): Promise<void> => {
    if (!stopping) {
      stopping = true;
      log.info("Stopping Server APIs");
      parts.disposeAsync().then(resolve, reject);
    }
    return stopped;
  };
  return { ...live, address, stopped, stop };
}

export interface LateStart {
  readonly address: string;
  readonly what: string;
  /** Resolves when it waits no more. */
  readonly over: Promise<void>;
  /** Opens what waited. */
  serveAgents(): Promise<unknown>;
}

/** A server that serves operators, and agents as soon as it can. What fails then ends it, as it would have failed its start. */
export function waiting(
  start: LateStart,
  live: Live,
  parts: AsyncDisposableStack,
  log: Log,
): RunningServer {
  let serving: Promise<unknown> | undefined;
  let isStopping = false;
  let failure: { readonly error: unknown } | undefined;
  // The first to be taken down: what is under way is done before anything is taken from under it.
  parts.defer(async () => {
    isStopping = true;
    await serving?.catch(() => undefined);
  });
  const server = running(start.address, live, parts, log);
  const goLive = async (): Promise<void> => {
    await start.over;
    if (isStopping) return;
    try {
      serving = start.serveAgents();
      await serving;
    } catch (error) {
      failure = { error };
      await server.stop();
    }
  };
  const stopped = server.stopped.then(() => {
    if (failure !== undefined) throw failure.error;
  });
  log.warn(`Server is ${start.what}`, { next: "spire-server ca csr, spire-server ca import" });
  // What stopping fails with is for whoever waits for the end.
  goLive().catch(() => undefined);
  return { ...server, stopped };
}
