import { defineGroup, type Group } from "#cli/command.ts";
import { debugGetInfo } from "./debug.ts";
import { doctor } from "./doctor.ts";
import { explain } from "./explain.ts";
import { fetchJwt } from "./fetch-jwt.ts";
import { fetchX509 } from "./fetch-x509.ts";
import { healthcheck } from "./healthcheck.ts";
import { loggerGet, loggerReset, loggerSet } from "./logger.ts";
import { run, validate } from "./run.ts";
import { svidFiles } from "./svid-files.ts";
import { validateJwt } from "./validate-jwt.ts";
import { watch } from "./watch.ts";

/** All commands of spire-agent. */
export const agentCommands: Group = defineGroup({
  api: defineGroup({
    explain,
    fetch: defineGroup({ jwt: fetchJwt, x509: fetchX509 }, fetchX509),
    validate: defineGroup({ jwt: validateJwt }),
    watch,
  }),
  debug: defineGroup({ getinfo: debugGetInfo }),
  doctor,
  healthcheck,
  logger: defineGroup({ get: loggerGet, reset: loggerReset, set: loggerSet }),
  run,
  "svid-files": svidFiles,
  validate,
});
