/**
 * The life of a daemon's process: signals, the service manager, the last log line and the exit code. Called by the `run` commands
 * of both executables with the part that serves; knows nothing of what it serves.
 */
import type { Clock } from "#clock/clock.ts";
import { releaseStartUpPages } from "#ffi/start-up-pages.ts";
import { makeUndumpable } from "#ffi/undumpable.ts";
import type { Log } from "#log/log.ts";
import type { StatusSource } from "./status-line.ts";
import { type ServiceManager, serviceManager } from "./systemd.ts";

/** A started server or agent. */
export interface Running {
  /** Resolves once it has stopped, rejects when it crashed. */
  readonly stopped: Promise<void>;
  /** Reads anew what may change while it runs (SIGUSR1); never rejects. */
  reconfigure(): Promise<void>;
  /**
   * Reads its configuration again and takes over what it can (SIGHUP); absent when that is nothing.
   *
   * @throws Error when what it read is of no use; then nothing has changed
   */
  reload?(): Promise<void>;
  stop(): Promise<void>;
  /** What `systemctl status` shows while it serves. */
  readonly status: StatusSource;
}

export interface Daemon {
  /** Server or Agent, for log lines. */
  readonly name: string;
  readonly log: Log;
  readonly clock: Clock;
  /**
   * @param tell changes what `systemctl status` shows until it serves
   * @throws Error with a message for the operator
   */
  start(tell: (status: string) => void): Promise<Running>;
  /** For a daemon that ended with that error; 1 when absent. */
  exitCodeOf?(error: unknown): number;
  /** Opens the log file anew (SIGUSR2, for log rotation). */
  reopenLog(): void;
  /** Prints a line to the operator, whatever the log goes to. */
  say(text: string): void;
}

/** sysexits.h EX_SOFTWARE: a mistake in the program itself. */
const EXIT_SOFTWARE = 70;

/** When a daemon that serves has run what only its start runs, whoever waited for it included. */
const STARTED_UP_MS = 2_000;

/** The group may not write and others may do nothing to the files that SPIRE's processes make. */
const LEAST_UMASK = 0o027;

/** Runs the daemon until it stops. @returns the exit code */
export async function runDaemon(daemon: Daemon): Promise<number> {
  makeUndumpable();
  tightenUmask(daemon.log);
  const stopAsked = handleSignals(daemon);
  const reconfigureOnSignal = keepReconfigureSignal();
  handleMistakes(daemon.log);
  const systemd = serviceManager(process.env, daemon.log);
  try {
    const running = await Promise.race([started(daemon, systemd), stopAsked]);
    // Asked to stop before it served: what had been started holds nothing that a crash would lose.
    if (running === undefined) return stoppedGracefully(daemon);
    reconfigureOnSignal(running);
    await serve(daemon, running, systemd, stopAsked);
  } catch (error) {
    daemon.log.error(`${daemon.name} crashed`, { error });
    return daemon.exitCodeOf?.(error) ?? 1;
  }
  return stoppedGracefully(daemon);
}

function stoppedGracefully({ log, name }: Daemon): number {
  log.info(`${name} stopped gracefully`);
  return 0;
}

async function started(daemon: Daemon, systemd: ServiceManager): Promise<Running> {
  try {
    return await daemon.start((status) => void systemd.status(status));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    daemon.say(`${reason}\n`);
    await systemd.status(reason.split("\n", 1)[0] ?? "");
    throw error;
  }
}

/** Until it is asked to stop, or stops or crashes by itself. */
async function serve(
  daemon: Daemon,
  running: Running,
  systemd: ServiceManager,
  stopAsked: Promise<void>,
): Promise<void> {
  const watchdog = systemd.watch(daemon.clock);
  const endReloads = answerHangUp(daemon, running, systemd);
  const line = await running.status.text();
  const ready = systemd.ready(line);
  const status = systemd.keepStatus(running.status, line, daemon.clock);
  const startedUp = daemon.clock.after(STARTED_UP_MS, releaseStartUpPages);
  const stop = async (): Promise<void> => {
    await stopAsked;
    status.cancel();
    startedUp.cancel();
    await endReloads();
    await ready;
    systemd.stopping();
    await Promise.all([systemd.status("Stopping"), running.stop()]);
  };
  await Promise.race([running.stopped, stop()]);
  await running.stopped.finally(() => watchdog.cancel());
}

/**
 * Reloads at every hang-up, once for all that come while it is at it. systemd hears when that begins and when it is done.
 *
 * @returns ends that; resolves when no reload is under way any more
 */
function answerHangUp(
  daemon: Daemon,
  running: Running,
  systemd: ServiceManager,
): () => Promise<void> {
  let isAsked = false;
  let underWay: Promise<void> | undefined;
  const reloadAll = async (): Promise<void> => {
    while (isAsked) {
      isAsked = false;
      systemd.reloading();
      await reload(daemon, running);
      // Also after a failure: systemd knows of none, and would wait for its time-out.
      await systemd.ready();
    }
    underWay = undefined;
  };
  const hangUp = (): void => {
    isAsked = true;
    underWay ??= reloadAll();
  };
  process.on("SIGHUP", hangUp);
  return async () => {
    process.off("SIGHUP", hangUp);
    isAsked = false;
    await underWay;
  };
}

async function reload({ name, log }: Daemon, running: Running): Promise<void> {
  if (running.reload === undefined) return;
  log.info("Asked to reload", { signal: "SIGHUP" });
  try {
    await running.reload();
    log.info(`${name} reloaded`);
  } catch (error) {
    log.error(`${name} not reloaded: it goes on as it was`, { error });
  }
}

/** Resolves at the first SIGTERM or SIGINT; the second one ends the process at once. */
function handleSignals(daemon: Daemon): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (asked) {
        daemon.log.warn("Asked again to stop; exiting immediately", { signal });
        process.exit(1);
      }
      asked = true;
      daemon.log.info("Asked to stop", { signal });
      resolve();
    });
  }
  // A hang-up while it starts must not end the daemon.
  process.on("SIGHUP", () => {});
  process.on("SIGUSR2", () => {
    try {
      daemon.reopenLog();
      daemon.log.info("Reopened the log file");
    } catch (error) {
      daemon.log.error("Unable to reopen the log file", { error });
    }
  });
  return promise;
}

/** What was asked for during the start is done after it. @returns to be called with what was started */
function keepReconfigureSignal(): (running: Running) => void {
  let serving: Running | undefined;
  let isAsked = false;
  process.on("SIGUSR1", () => {
    isAsked = true;
    void serving?.reconfigure();
  });
  return (running) => {
    serving = running;
    if (isAsked) void running.reconfigure();
  };
}

/** An error nobody waits for means a broken invariant: better restarted by the service manager than half working. */
function handleMistakes(log: Log): void {
  const end = (error: unknown): never => {
    const stack = error instanceof Error ? error.stack : undefined;
    log.error("Unexpected error; exiting", { error, stack });
    process.exit(EXIT_SOFTWARE);
  };
  process.on("unhandledRejection", end);
  process.on("uncaughtException", end);
}

function tightenUmask(log: Log): void {
  const before = process.umask(LEAST_UMASK);
  const after = before | LEAST_UMASK;
  if (after !== before) {
    log.warn(`Current umask ${octal(before)} is too permissive; setting umask ${octal(after)}`);
  }
  process.umask(after);
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
