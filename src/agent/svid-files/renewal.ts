/** Tells whoever uses the files that they were replaced. What fails is logged, and the rest is done all the same. */
import { spawn } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import type { Clock } from "#clock/clock.ts";
import { DbusError } from "#dbus/connection.ts";
import type { Systemd } from "#dbus/systemd.ts";
import { statusValues } from "#ffi/process-status.ts";
import { isNobodyElse } from "#files/accounts.ts";
import { readBounded } from "#files/read-bounded.ts";
import { followSafely } from "#files/safe-path.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { Renewal } from "./config.ts";

const NO_MAIN_PROCESS = "org.freedesktop.systemd1.NoSuchProcess";
const COMMAND_TIMEOUT_MS = 60_000;

export interface RenewalTools {
  readonly systemd: Pick<Systemd, "reload" | "signal">;
  readonly clock: Clock;
  readonly log: Log;
}

export async function renew(renewal: Renewal, tools: RenewalTools): Promise<void> {
  const { reloadUnits, signal, signalUnits, pidFile, command } = renewal;
  const { systemd } = tools;
  const tell = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      tools.log.info("Notified of the new files", { told: what });
    } catch (error) {
      if (isAbsent(error))
        tools.log.info("No running process to notify of the new files", { told: what });
      else
        tools.log.error("Unable to notify of the new files", {
          told: what,
          error: errorText(error),
        });
    }
  };
  for (const unit of reloadUnits) await tell(unit, () => systemd.reload(unit));
  if (signal !== undefined) {
    for (const unit of signalUnits) await tell(unit, () => systemd.signal(unit, signal));
    if (pidFile !== undefined) await tell(pidFile, () => signalProcess(pidFile, signal));
  }
  const [program] = command;
  if (program !== undefined) await tell(program, () => runCommand(command, tools.clock));
}

/** A service that does not run will read the new files when it does. */
function isAbsent(error: unknown): boolean {
  if (error instanceof DbusError) return error.errorName === NO_MAIN_PROCESS;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "ESRCH";
}

/** More than any number of a process needs. */
const MAX_PID_FILE_BYTES = 64;

async function signalProcess(pidFile: string, signal: number): Promise<void> {
  const text = (await readBounded(pidFile, MAX_PID_FILE_BYTES)).toString("latin1").trim();
  // 0 and what is below would reach whole groups of processes, 1 systemd.
  if (!/^\d{1,10}$/.test(text) || Number(text) <= 1) throw new Error("it holds no process ID");
  const writer = writerOf(pidFile);
  if (writer !== undefined) checkOwner(Number(text), writer);
  process.kill(Number(text), signal);
}

/** The user who may choose what the file says; undefined when nobody could reach more through us than by himself. */
function writerOf(pidFile: string): number | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  try {
    followSafely(pidFile, { sticky: "allowed" });
    return undefined;
  } catch {
    return statSync(pidFile).uid;
  }
}

/**
 * Whoever writes the file must not reach, through us, a process that they could not signal themselves (kill(2)).
 *
 * @throws Error when it is another user's process
 */
function checkOwner(pid: number, writer: number): void {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const [real, , saved] = statusValues(status, "Uid").map(Number);
  // Root's file, in a place where others can put a link to any of root's files.
  const mayReach = !isNobodyElse(writer) && (real === writer || saved === writer);
  if (mayReach) return;
  throw new Error(
    `users other than root can change the file, which belongs to uid ${writer}, and process ${pid} belongs to uid ${real}: the user of the service must own the file, or root alone must be able to write there`,
  );
}

/** No shell takes the words apart; what it prints goes where our log goes. */
async function runCommand(
  [program = "", ...words]: readonly string[],
  clock: Clock,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn(program, words, { stdio: ["ignore", "inherit", "inherit"] });
  const timer = clock.after(COMMAND_TIMEOUT_MS, () => child.kill("SIGKILL"));
  child.on("error", ({ message }) => reject(new Error(message)));
  child.on("exit", (code, signal) => {
    if (code === 0) resolve();
    else reject(new Error(signal === null ? `it ended with ${code}` : `it was ended by ${signal}`));
  });
  await promise.finally(() => timer.cancel());
}
