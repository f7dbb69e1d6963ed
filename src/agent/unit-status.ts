/** What an agent that does not answer yet says of itself to systemd: for commands that wait for it in vain. */
import { systemClock } from "#clock/clock.ts";
import { AGENT_SOCKET, AGENT_SOCKET_TEMPLATE } from "#config/packaged.ts";
import { Systemd } from "#dbus/systemd.ts";

const TIMEOUT_MS = 2_000;

/**
 * The status of the unit that serves a socket of the packages: `spire-agent.service: Joining spire.example.org:8081`.
 *
 * @returns undefined for another socket, where systemd cannot be asked, and when there is no status
 */
export async function packagedUnitStatus(socket: string): Promise<string | undefined> {
  const unit = unitOf(socket);
  if (unit === undefined) return undefined;
  const systemd = new Systemd(systemClock, process.env);
  try {
    const late = systemClock.sleep(TIMEOUT_MS).then(() => "");
    const status = await Promise.race([systemd.statusOf(unit), late]);
    return status === "" ? undefined : `${unit}: ${status}`;
  } catch {
    return undefined;
  } finally {
    systemd.close();
  }
}

function unitOf(socket: string): string | undefined {
  if (socket === AGENT_SOCKET.path) return "spire-agent.service";
  const [before = "", after = ""] = AGENT_SOCKET_TEMPLATE.split("%i");
  const isInstance = socket.startsWith(before) && socket.endsWith(after);
  if (!isInstance || socket.length <= before.length + after.length) return undefined;
  return `spire-agent@${socket.slice(before.length, -after.length)}.service`;
}
