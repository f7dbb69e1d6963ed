/**
 * Tells systemd how the daemon does, when it was started as a unit of Type=notify. The package runs the program systemd-notify,
 * whose messages come from another process: the unit needs NotifyAccess=all. Never fails the daemon: it may run without systemd.
 */
import type { Log } from "#log/log.ts";

export interface ServiceManager {
  /** The daemon serves. Resolves when systemd was told, or at once without systemd. */
  ready(status: string): Promise<void>;
  /** One line for `systemctl status`. */
  status(text: string): Promise<void>;
}

/** @param socket the value of NOTIFY_SOCKET; undefined or empty when systemd does not listen */
export function serviceManager(socket: string | undefined, log: Log): ServiceManager {
  if (socket === undefined || socket === "") {
    return { ready: () => Promise.resolve(), status: () => Promise.resolve() };
  }
  const send = async (message: { ready?: boolean; status: string }): Promise<void> => {
    try {
      const { default: notify } = await import("systemd-notify");
      await notify({ ...message, pid: process.pid });
    } catch (error) {
      log.warn("Unable to notify systemd", { error });
    }
  };
  return {
    ready: (status) => send({ ready: true, status }),
    status: (status) => send({ status }),
  };
}
