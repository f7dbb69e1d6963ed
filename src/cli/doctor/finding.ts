/** What the `doctor` commands find, and how they print it. A check is a small function that gives findings; it changes nothing. */
import type { Io } from "#cli/io.ts";
import { printable } from "#cli/printable.ts";
import { type OutputFormat, printStruct } from "#cli/printer.ts";
import { failureText } from "#cli/rpc-error.ts";

export type Level = "OK" | "WARN" | "FAIL";

export interface Finding {
  /** What was looked at, a word or two with underscores; scripts pick by it. */
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do; empty when all is well. */
  readonly advice: string;
}

export function ok(check: string, message: string): Finding {
  return { check, level: "OK", message, advice: "" };
}

/** Works now, and may not go on to. */
export function warn(check: string, message: string, advice: string): Finding {
  return { check, level: "WARN", message, advice };
}

/** Does not work, or is not safe. */
export function fail(check: string, message: string, advice: string): Finding {
  return { check, level: "FAIL", message, advice };
}

/** Runs a check; one that cannot be done is a finding itself. */
export async function tried(
  check: string,
  advice: string,
  run: () => Promise<readonly Finding[]> | readonly Finding[],
): Promise<readonly Finding[]> {
  try {
    return await run();
  } catch (error) {
    return [fail(check, failureText(error), advice)];
  }
}

/** Prints all findings. @returns the exit code: 1 when something fails */
export function printFindings(io: Io, format: OutputFormat, findings: readonly Finding[]): number {
  const count = (wanted: Level): number => findings.filter(({ level }) => level === wanted).length;
  const result: Level = count("FAIL") > 0 ? "FAIL" : count("WARN") > 0 ? "WARN" : "OK";
  printStruct(io, format, { result, findings }, () => {
    const width = Math.max(...findings.map(({ check }) => check.length));
    for (const { check, level, message, advice } of findings) {
      io.out(`${level.padEnd(4)}  ${check.padEnd(width)}  ${oneLine(message)}\n`);
      if (advice !== "") io.out(`      ${" ".repeat(width)}  What to do: ${oneLine(advice)}\n`);
    }
    io.out(`\n${count("OK")} OK, ${count("WARN")} WARN, ${count("FAIL")} FAIL\n`);
  });
  return result === "FAIL" ? 1 : 0;
}

/** An error may have several lines; a finding has one. */
function oneLine(text: string): string {
  return printable(text.replace(/[\r\n]+/g, " "));
}
