/** The Logger service: a local operator looks at the log level of the running server, changes it, and puts it back. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import type { LevelSwitch } from "#grpc/log-level.ts";
import {
  LoggerService,
  type SetLogLevelRequest,
} from "#proto/spire/api/server/logger/v1/logger.ts";
import { type Logger, LogLevel } from "#proto/spire/api/types/logger.ts";
import { apiCall } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";

export function createLoggerService(level: LevelSwitch, options: ServiceOptions): BoundService {
  return bindService(
    LoggerService,
    audited({
      getLogger: async (): Promise<Logger> => level.message,
      setLogLevel: async (
        { newLevel }: SetLogLevelRequest,
        context: CallContext,
      ): Promise<Logger> => {
        const { audit, log } = apiCall(context);
        const name = Object.entries(LogLevel).find(([, value]) => value === newLevel)?.[0];
        audit.add({ new_log_level: name ?? String(newLevel) });
        level.set(newLevel);
        log.info("SetLogLevel Called", { new_log_level: name });
        return level.message;
      },
      resetLogLevel: async (_request: object, context: CallContext): Promise<Logger> => {
        level.reset();
        apiCall(context).log.info("ResetLogLevel Called");
        return level.message;
      },
    }),
    options,
  );
}
