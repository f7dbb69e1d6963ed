/** What the `logger` commands of both executables share: a level's name in both directions, and how the answer is shown. */

import { logLevelNamed, logLevelOf } from "#grpc/log-level.ts";
import { type Logger, LogLevel } from "#proto/spire/api/types/logger.ts";
import { goQuote } from "./go-text.ts";
import type { Io } from "./io.ts";
import { type OutputFormat, printMessages } from "./printer.ts";

/** The value of `-level` as a message. @throws Error when it is missing or no level */
export function levelMessage(text: string): LogLevel {
  if (text === "") throw new Error("a value (-level) must be set");
  const level = logLevelNamed(text);
  if (level === undefined) throw new Error(`the value ${goQuote(text)} is not a valid setting`);
  return level;
}

export function printLogger(
  io: Io,
  format: OutputFormat,
  { currentLevel, launchLevel }: Logger,
): void {
  const message = {
    currentLevel: enumName(currentLevel),
    launchLevel: enumName(launchLevel),
  };
  printMessages(io, format, [message], () => {
    io.out(`Logger Level : ${logLevelOf(currentLevel)}\n`);
    io.out(`Launch Level : ${logLevelOf(launchLevel)}\n\n`);
  });
}

function enumName(level: LogLevel): string {
  return Object.entries(LogLevel).find(([, value]) => value === level)?.[0] ?? String(level);
}
