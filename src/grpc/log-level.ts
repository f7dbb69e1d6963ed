/** Log levels on the wire, in both daemons' Logger services. */
import { type LogLevel, type LogSettings, parseLogLevel } from "#log/log.ts";
import { LogLevel as LevelMessage, type Logger } from "#proto/spire/api/types/logger.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

const MESSAGES: Readonly<Record<LogLevel, LevelMessage>> = {
  panic: LevelMessage.PANIC,
  fatal: LevelMessage.FATAL,
  error: LevelMessage.ERROR,
  warning: LevelMessage.WARN,
  info: LevelMessage.INFO,
  debug: LevelMessage.DEBUG,
  trace: LevelMessage.TRACE,
};

/** The level as it is, and as the configuration has it. */
export class LevelSwitch {
  readonly #setting: LogSettings;
  readonly #launch: LogLevel;

  /** @param setting shared with the log, so that a change takes effect at once */
  constructor(setting: LogSettings) {
    this.#setting = setting;
    this.#launch = setting.level;
  }

  get message(): Logger {
    return {
      currentLevel: MESSAGES[this.#setting.level],
      launchLevel: MESSAGES[this.#configured],
    };
  }

  get #configured(): LogLevel {
    return this.#setting.launchLevel ?? this.#launch;
  }

  /** @throws StatusError INVALID_ARGUMENT for a level that is none */
  set(message: LevelMessage): void {
    if (message === LevelMessage.UNSPECIFIED) {
      throw new StatusError(
        StatusCode.INVALID_ARGUMENT,
        "newLevel value cannot be LogLevel_UNSPECIFIED",
      );
    }
    const level = logLevelOf(message);
    if (level === undefined) {
      throw new StatusError(StatusCode.INVALID_ARGUMENT, "unsupported log level");
    }
    this.#setting.level = level;
  }

  reset(): void {
    this.#setting.level = this.#configured;
  }
}

/** The level of a message; undefined when it is none that we know. */
export function logLevelOf(message: LevelMessage): LogLevel | undefined {
  return (Object.keys(MESSAGES) as LogLevel[]).find((level) => MESSAGES[level] === message);
}

/** The message of a level by its name, in any case; undefined when there is no such level. */
export function logLevelNamed(name: string): LevelMessage | undefined {
  const level = parseLogLevel(name);
  return level === undefined ? undefined : MESSAGES[level];
}
