/** Whether an output of this process is systemd's journal, and how a line is given its priority there. */
import { fstatSync } from "node:fs";

/** The process's environment, for what systemd puts there. */
type Environment = Readonly<Record<string, string | undefined>>;

const STDERR = 2;
const ERROR = "<3>";

/** A child inherits JOURNAL_STREAM whatever its own output is: systemd.exec(5) has device and inode compared. */
export function isJournal(environment: Environment, descriptor: number): boolean {
  const stream = environment["JOURNAL_STREAM"];
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** What is said of a failure on standard error: with its priority before each line (sd-daemon(3)) when that is the journal. */
export function asJournalError(environment: Environment, text: string): string {
  return isJournal(environment, STDERR) ? text.replace(/^(?=.)/gm, ERROR) : text;
}
