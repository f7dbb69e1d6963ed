/**
 * Tells systemd how the daemon does, when it was started as a unit of Type=notify. READY and STATUS go through the package, which runs
 * the program systemd-notify: its messages come from another process, so the unit needs NotifyAccess=all. The rest, and these too where
 * the program is missing, is sent from here. Never fails the daemon: it may run without systemd.
 */
import type { Clock, Timer } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { monotonicMicroseconds, sendDatagram } from "./datagram.ts";

export interface ServiceManager {
  /** The daemon serves. Resolves when systemd was told, or at once without systemd. */
  ready(status: string): Promise<void>;
  /** One line for `systemctl status`. */
  status(text: string): Promise<void>;
  /** It reads its configuration anew; `ready` ends that. */
  reloading(): void;
  stopping(): void;
  /** Shows twice in every watchdog period, until cancelled, that the event loop turns; without a watchdog does nothing. */
  watch(clock: Clock): Timer;
}

/** The process's environment, for what systemd puts there (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)). */
export type ServiceEnvironment = Readonly<Record<string, string | undefined>>;

const SILENT: ServiceManager = {
  ready: () => Promise.resolve(),
  status: () => Promise.resolve(),
  reloading: () => {},
  stopping: () => {},
  watch: () => ({ cancel: () => {} }),
};

export function serviceManager(environment: ServiceEnvironment, log: Log): ServiceManager {
  const socket = environment["NOTIFY_SOCKET"];
  if (socket === undefined || socket === "") return SILENT;
  let failed = false;
  const tell = (message: () => string): void => {
    try {
      sendDatagram(socket, message());
    } catch (error) {
      // The watchdog would say it again and again.
      if (!failed) log.warn("Unable to notify systemd", { error });
      failed = true;
    }
  };
  const tellByProgram = async (ready: boolean, status: string): Promise<void> => {
    try {
      const { default: notify } = await import("systemd-notify");
      await notify({ ...(ready ? { ready } : {}), status, pid: process.pid });
    } catch (error) {
      log.debug("The program systemd-notify failed; telling systemd without it", { error });
      tell(() => `${ready ? "READY=1\n" : ""}STATUS=${status.replaceAll("\n", " ")}`);
    }
  };
  return {
    ready: (status) => tellByProgram(true, status),
    status: (status) => tellByProgram(false, status),
    reloading: () => tell(() => `RELOADING=1\nMONOTONIC_USEC=${monotonicMicroseconds()}`),
    stopping: () => tell(() => "STOPPING=1"),
    watch: (clock) => watchdog(environment, clock, () => tell(() => "WATCHDOG=1")),
  };
}

function watchdog(environment: ServiceEnvironment, clock: Clock, ping: () => void): Timer {
  const halfMs = Number(environment["WATCHDOG_USEC"] ?? 0) / 2000;
  const pid = environment["WATCHDOG_PID"];
  const meant = pid === undefined || Number(pid) === process.pid;
  let timer: Timer = { cancel: () => {} };
  const turn = (): void => {
    ping();
    timer = clock.after(halfMs, turn);
  };
  if (meant && halfMs > 0) turn();
  return { cancel: () => timer.cancel() };
}
