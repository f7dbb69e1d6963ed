/** What the kernel prints of a process in /proc/PID. Status is read by the line: a value never comes from the line after it. */
import { readFileSync } from "node:fs";

/**
 * The values of one line, in their order: ids are real, effective, saved, file system; capabilities are hexadecimal, without `0x`.
 *
 * @param status the whole file, with its first line
 * @param label of the line, such as `Uid`. The name in the first line cannot pass for one: the kernel writes a line feed in it as `\n`
 * @returns an empty list when there is no such line, or nothing in it
 */
export function statusValues(status: string, label: string): readonly string[] {
  const start = status.indexOf(`\n${label}:`);
  if (start === -1) return [];
  const end = status.indexOf("\n", start + 1);
  const line = status.slice(start + label.length + 2, end === -1 ? undefined : end);
  return line.split(/\s+/).filter(Boolean);
}

/**
 * When a process began, in ticks since the machine did: it tells one process of a pid from the next. Field 22 of /proc/PID/stat; the name
 * before it may hold spaces and parentheses.
 *
 * @returns undefined when there is no such process, or it is hidden
 */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
