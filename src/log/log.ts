/**
 * The log: one line an event, as text or JSON with the field names of the reference, so that existing alerts keep working.
 * Values that a field must never hold: private keys, join tokens, JWTs.
 */
import { writeSync } from "node:fs";

const LOG_LEVELS = ["panic", "fatal", "error", "warning", "info", "debug", "trace"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFormat = "text" | "json";
export type LogFields = Readonly<Record<string, unknown>>;

/** What a line says, for sinks that keep more than text. */
export interface LogEvent {
  readonly level: LogLevel;
  readonly fields: LogFields;
}

/** Where finished lines go. */
export interface LogSink {
  /** @param line with the line feed at its end */
  write(line: string, event: LogEvent): void;
}

export interface Log {
  /** Shared with all logs derived from the same one; what is set here counts from the next line on. */
  readonly settings: LogSettings;
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A log that adds the fields to every line, for instance `subsystem_name`. */
  with(fields: LogFields): Log;
}

export interface LogSettings {
  level: LogLevel;
  format: LogFormat;
  /** What the configuration says since it was read again; absent while it says what it said at start. */
  launchLevel?: LogLevel;
}

/** Reads a level name in any case; `warn` is `warning`. Undefined when there is no such level. */
export function parseLogLevel(text: string): LogLevel | undefined {
  const lower = text.toLowerCase();
  const name = lower === "warn" ? "warning" : lower;
  return LOG_LEVELS.find((level) => level === name);
}

/** Whether lines of that level are written. */
export function isLogged(settings: LogSettings, level: LogLevel): boolean {
  return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(settings.level);
}

/**
 * Makes a log. The settings are shared by all logs derived from it, so a change takes effect everywhere.
 *
 * @param now milliseconds since the epoch, from the injected clock
 */
export function createLog(settings: LogSettings, now: () => number, sink: LogSink): Log {
  let isLost = false;
  const emit = (level: LogLevel, message: string, fields: LogFields): void => {
    if (!isLogged(settings, level)) return;
    const time = new Date(now()).toISOString().replace(/\.\d{3}Z$/, "Z");
    const line =
      settings.format === "json"
        ? jsonLine(time, level, message, fields)
        : textLine(time, level, message, fields);
    try {
      sink.write(line, { level, fields });
      isLost = false;
    } catch (error) {
      // A disk that is full of logs must not stop what they are about.
      if (!isLost) complain(error);
      isLost = true;
    }
  };
  const make = (base: LogFields): Log => ({
    settings,
    error: (message, fields) => emit("error", message, { ...base, ...fields }),
    warn: (message, fields) => emit("warning", message, { ...base, ...fields }),
    info: (message, fields) => emit("info", message, { ...base, ...fields }),
    debug: (message, fields) => emit("debug", message, { ...base, ...fields }),
    with: (fields) => make({ ...base, ...fields }),
  });
  return make({});
}

/** Writes lines to standard output at once; a daemon's last words must not wait in a buffer. */
export const stdoutSink: LogSink = {
  write(line) {
    writeSync(1, line);
  },
};

/** The last place there is to say something. */
function complain(error: unknown): void {
  try {
    writeSync(2, `log lines are lost until the log can be written again: ${fieldText(error)}\n`);
  } catch {
    // Nobody listens.
  }
}

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) plain[key] = jsonValue(value);
  return `${JSON.stringify({ ...plain, level, msg: message, time })}\n`;
}

function jsonValue(value: unknown): unknown {
  if (value instanceof Error) return value.message;
  if (typeof value === "bigint") return value.toString();
  return value;
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const parts = [`time=${quoted(time)}`, `level=${level}`, `msg=${quoted(message)}`];
  for (const key of Object.keys(fields).sort()) {
    if (fields[key] !== undefined) parts.push(`${key}=${quoted(fieldText(fields[key]))}`);
  }
  return `${parts.join(" ")}\n`;
}

/** A field as text, as in a line of text. */
export function fieldText(value: unknown): string {
  if (value instanceof Error) return value.message;
  if (Array.isArray(value)) return `[${value.map(fieldText).join(" ")}]`;
  return String(value);
}

/** Quotes a value that holds anything but plain characters, so that a line stays one line whatever a caller sent. */
function quoted(text: string): string {
  return /^[A-Za-z0-9\-._/@^+]+$/.test(text) ? text : JSON.stringify(text);
}
