/**
 * Log lines for systemd's journal in its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): each with a priority of its own, and
 * with its fields, so that `journalctl SPIFFE_ID=…` finds them. On standard output every line would be of one priority.
 */
import { writeSync } from "node:fs";
import { fieldText, type LogEvent, type LogFields, type LogLevel, type LogSink } from "#log/log.ts";
import { sendDatagram } from "./datagram.ts";
import { isJournal } from "./journal-stream.ts";
import type { ServiceEnvironment } from "./systemd.ts";

const SOCKET = "/run/systemd/journal/socket";
const STDOUT = 1;

/** syslog(3). */
const PRIORITIES: Readonly<Record<LogLevel, number>> = {
  panic: 0,
  fatal: 2,
  error: 3,
  warning: 4,
  info: 6,
  debug: 7,
  trace: 7,
};
/** What the protocol itself gives a meaning. */
const RESERVED = new Set(["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"]);

export interface JournalOptions {
  /** SYSLOG_IDENTIFIER: `spire-agent`. */
  readonly identifier: string;
  /** For every line, such as `trust_domain`. */
  readonly fields: LogFields;
  /** Where the journal listens. */
  readonly socket?: string;
}

/**
 * The sink of a daemon whose standard output is the journal. What the journal does not take, a line that is too long for instance, goes to
 * standard output with its priority before it (sd-daemon(3)).
 *
 * @returns undefined when standard output is anything else
 */
export function openJournal(
  environment: ServiceEnvironment,
  { identifier, fields, socket = SOCKET }: JournalOptions,
): LogSink | undefined {
  if (!isJournal(environment, STDOUT)) return undefined;
  return {
    write(line, event) {
      const message = journalMessage(line, event, { syslog_identifier: identifier, ...fields });
      try {
        sendDatagram(socket, message);
      } catch {
        writeSync(STDOUT, `<${PRIORITIES[event.level]}>${line}`);
      }
    },
  };
}

function journalMessage(line: string, { level, fields }: LogEvent, more: LogFields): Buffer {
  const parts = [
    journalField("MESSAGE", line.trimEnd()),
    journalField("PRIORITY", String(PRIORITIES[level])),
  ];
  for (const [key, value] of Object.entries({ ...fields, ...more })) {
    const name = key.toUpperCase().replace(/[^A-Z0-9_]/g, "_");
    if (value === undefined || !/^[A-Z][A-Z0-9_]{0,63}$/.test(name)) continue;
    if (RESERVED.has(name) && !(key in more)) continue;
    parts.push(journalField(name, fieldText(value)));
  }
  return Buffer.concat(parts);
}

/** A value with a line feed in it is given by its length, so that nobody who causes a line can add a field to it. */
function journalField(name: string, value: string): Buffer {
  if (!value.includes("\n")) return Buffer.from(`${name}=${value}\n`);
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from("\n")]);
}
