/** A server that was started, in the hands of whoever started it. */
import type { Reconfigurer } from "#config/reconfigurer.ts";
import type { Log } from "#log/log.ts";
import type { DirectoryKeeper } from "./declared/keep-directory.ts";

export interface RunningServer {
  /** Where agents connect, or are to connect, `host:port`. */
  readonly address: string;
  /** What the server waits for before it serves agents; undefined when it serves them already. */
  readonly waiting?: Waiting;
  /** Resolves once the server has stopped, whoever stopped it. */
  readonly stopped: Promise<void>;
  /** Reads the files of plugins' data again. */
  reconfigure(): Promise<void>;
  /** Looks at the declared entries at once. Resolves when that is done, whatever came of it. */
  reload(): Promise<void>;
  /** Ends streams, waits at most ten seconds for calls under way, and closes the store. */
  stop(): Promise<void>;
}

interface Waiting {
  /** In words for the operator. */
  readonly what: string;
  /** Resolves once it serves agents; never when it is stopped before that. */
  readonly over: Promise<void>;
}

/** What reads files again while the server runs. */
export interface Rereaders {
  readonly reconfigurer: Reconfigurer;
  readonly keeper: DirectoryKeeper | undefined;
}

/** @param parts all that is to be taken down when it stops */
export function running(
  address: string,
  { reconfigurer, keeper }: Rereaders,
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
  return {
    address,
    stopped,
    reconfigure: () => reconfigurer.reconfigure(),
    reload: async () => await keeper?.reload(),
    stop,
  };
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
  rereaders: Rereaders,
  parts: AsyncDisposableStack,
  log: Log,
): RunningServer {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  let serving: Promise<unknown> | undefined;
  let isStopping = false;
  let failure: { readonly error: unknown } | undefined;
  // The first to be taken down: what is under way is done before anything is taken from under it.
  parts.defer(async () => {
    isStopping = true;
    await serving?.catch(() => undefined);
  });
  const server = running(start.address, rereaders, parts, log);
  const goLive = async (): Promise<void> => {
    await start.over;
    if (isStopping) return;
    try {
      serving = start.serveAgents();
      await serving;
      resolve();
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
  const what = start.what.replace(/^./, (first) => first.toUpperCase());
  return { ...server, stopped, waiting: { what, over } };
}
