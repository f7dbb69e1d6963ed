/** The Logger service of the agent's admin socket: the log level, looked at, changed and put back. */
import { type BindOptions, type BoundService, bindService } from "#grpc/bind.ts";
import { LevelSwitch } from "#grpc/log-level.ts";
import { LoggerService } from "#proto/spire/api/agent/logger/v1/logger.ts";

export function createLoggerService(options: BindOptions): BoundService {
  const { log } = options;
  const level = new LevelSwitch(log.settings);
  return bindService(
    LoggerService,
    {
      getLogger: async () => level.message,
      setLogLevel: async ({ newLevel }) => {
        level.set(newLevel);
        log.info("SetLogLevel Called", { new_log_level: log.settings.level });
        return level.message;
      },
      resetLogLevel: async () => {
        level.reset();
        log.info("ResetLogLevel Called", { launch_log_level: log.settings.level });
        return level.message;
      },
    },
    options,
  );
}
