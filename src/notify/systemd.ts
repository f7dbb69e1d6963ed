/**
 * Tells systemd how the daemon does, when it was started as a unit of Type=notify. READY and its STATUS go through the package, which runs
 * the program systemd-notify: its messages come from another process, so the unit needs NotifyAccess=all. The rest, and these too where
 * the program is missing, is sent from here; so is a STATUS that changes while the daemon serves, which would be a process each time. Never
 * fails the daemon: it may run without systemd.
 */
import type { Clock, Timer } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { monotonicMicroseconds, sendDatagram } from "./datagram.ts";
import { keepStatusLine, type StatusSource } from "./status-line.ts";

export interface ServiceManager {
  /** The daemon serves, or serves with what it read anew. Resolves when systemd was told, or at once without systemd. */
  ready(status?: string): Promise<void>;
  /** One line for `systemctl status`. */
  status(text: string): Promise<void>;
  /** Keeps that line true until cancelled. Without systemd nothing is ever asked. @param said the line as it is now */
  keepStatus(source: StatusSource, said: string, clock: Clock): Timer;
  /** It reads its configuration anew; `ready` ends that. */
  reloading(): void;
  stopping(): void;
  /** Shows twice in every watchdog period, until cancelled, that the event loop turns; without a watchdog does nothing. */
  watch(clock: Clock): Timer;
}

/** The process's environment, for what systemd puts there (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)). */
export type ServiceEnvironment = Readonly<Record<string, string | undefined>>;

const NO_TIMER: Timer = { cancel: () => {} };

const SILENT: ServiceManager = {
  ready: () => Promise.resolve(),
  status: () => Promise.resolve(),
  keepStatus: () => NO_TIMER,
  reloading: () => {},
  stopping: () => {},
  watch: () => NO_TIMER,
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
  const tellByProgram = async (ready: boolean, status: string | undefined): Promise<void> => {
    try {
      const { default: notify } = await import("systemd-notify");
      const said = { ...(ready ? { ready } : {}), ...(status === undefined ? {} : { status }) };
      await notify({ ...said, pid: process.pid });
    } catch (error) {
      log.debug("The program systemd-notify failed; telling systemd without it", { error });
      const lines = [
        ...(ready ? ["READY=1"] : []),
        ...(status === undefined ? [] : [statusOf(status)]),
      ];
      tell(() => lines.join("\n"));
    }
  };
  return {
    ready: (status) => tellByProgram(true, status),
    status: (status) => tellByProgram(false, status),
    keepStatus: (source, said, clock) =>
      keepStatusLine({ source, tell: (text) => tell(() => statusOf(text)), clock, log }, said),
    reloading: () => tell(() => `RELOADING=1\nMONOTONIC_USEC=${monotonicMicroseconds()}`),
    stopping: () => tell(() => "STOPPING=1"),
    watch: (clock) => watchdog(environment, clock, () => tell(() => "WATCHDOG=1")),
  };
}

function statusOf(text: string): string {
  return `STATUS=${text.replaceAll("\n", " ")}`;
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
