import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import { type Flag, intFlag, stringFlag, switchFlag } from "#cli/flags.ts";
import { pickGiven } from "#cli/given.ts";
import { openLogFile } from "#cli/log-file.ts";
import { isOneOutput } from "#cli/same-output.ts";
import { VERSION } from "#cli/version.ts";
import { obeyOwnFilesOnly } from "#files/obeyed.ts";
import { asJournalError } from "#notify/journal-stream.ts";
import type { ServerConfig } from "#server/config/config.ts";
import { errorText } from "#spiffe/status-error.ts";

export interface RunFlags extends Record<string, Flag<unknown>> {
  readonly bindAddress: Flag<string>;
  readonly serverPort: Flag<number>;
  readonly config: Flag<string>;
  readonly dataDir: Flag<string>;
  readonly logFile: Flag<string>;
  readonly logFormat: Flag<string>;
  readonly logLevel: Flag<string>;
  readonly logSourceLocation: Flag<boolean>;
  readonly trustDomain: Flag<string>;
  readonly expandEnv: Flag<boolean>;
  readonly socketPath: Flag<string>;
  readonly entriesDir: Flag<string>;
}

/** The flags of `run` and `validate`; each overrides the same key of the configuration file. */
const RUN_FLAGS: RunFlags = {
  bindAddress: stringFlag("The IP address or DNS name to listen on for agents"),
  serverPort: intFlag("The port to listen on for agents"),
  config: stringFlag("The configuration file; conf/server/server.conf when not given"),
  dataDir: stringFlag("The directory for all that the server keeps"),
  logFile: stringFlag("A file to append the log to, instead of standard output"),
  logFormat: stringFlag("How log lines are written: text or json"),
  logLevel: stringFlag("What is logged: debug, info, warn or error"),
  logSourceLocation: switchFlag(
    "Accepted for the sake of scripts; log lines carry no source location",
  ),
  trustDomain: stringFlag("The trust domain that the server is the authority of"),
  expandEnv: switchFlag("Replace $VARIABLES in the configuration file by the environment's values"),
  socketPath: stringFlag("The socket of the administration API"),
  entriesDir: stringFlag("A directory of files whose registration entries the server keeps to"),
};

export const run: Command = defineLeaf({
  synopsis: "Runs the server",
  flags: RUN_FLAGS,
  run: async (invocation) => {
    const { io } = invocation;
    obeyOwnFilesOnly();
    try {
      const load = (): Promise<ServerConfig> => loadConfig(invocation);
      return await serve(await load(), load, (text) => io.err(asJournalError(process.env, text)));
    } catch (error) {
      io.err(asJournalError(process.env, `${errorText(error)}\n`));
      return 1;
    }
  },
});

export const validate: Command = defineLeaf({
  synopsis: "Checks a configuration file without starting anything",
  flags: RUN_FLAGS,
  run: async (invocation) => {
    const { io } = invocation;
    try {
      await loadConfig(invocation, true);
    } catch (error) {
      io.err(`SPIRE server configuration file is invalid: ${errorText(error)}\n`);
      return 1;
    }
    io.out("SPIRE server configuration file is valid.\n");
    return 0;
  },
});

async function loadConfig(
  { flags, given }: Invocation<RunFlags>,
  isFromOutside = false,
): Promise<ServerConfig> {
  const { loadServerConfig } = await import("#server/config/config.ts");
  return loadServerConfig(pickGiven(flags, given), isFromOutside);
}

async function serve(
  config: ServerConfig,
  load: () => Promise<ServerConfig>,
  say: (text: string) => void,
): Promise<number> {
  // First, so that it starts while this thread loads all the rest.
  const { startWriterThread } = await import("#server/datastore/sqlite/writing/thread.ts");
  const writerThread = startWriterThread();
  const [
    { DaemonLog },
    { systemClock },
    { systemRandom },
    { runDaemon },
    { openJournal },
    { runServer },
  ] = await Promise.all([
    import("#log/daemon-log.ts"),
    import("#clock/clock.ts"),
    import("#clock/random.ts"),
    import("#notify/daemon.ts"),
    import("#notify/journal.ts"),
    import("#server/server.ts"),
  ]);
  const journal = openJournal(process.env, {
    identifier: "spire-server",
    fields: { trust_domain: config.trustDomain.name },
  });
  const daemonLog = new DaemonLog(config.log, () => systemClock.nowMs(), openLogFile, journal);
  const { log } = daemonLog;
  for (const warning of config.warnings) log.warn(warning);
  for (const note of config.notes) log.info(note);
  return runDaemon({
    name: "Server",
    log,
    clock: systemClock,
    start: async () => {
      const tools = {
        log,
        version: VERSION,
        clock: systemClock,
        random: systemRandom,
        writerThread,
      };
      const server = await runServer(config, tools);
      const reload = async (): Promise<void> => {
        const next = await load();
        daemonLog.follow(next.log);
        await server.reload(next);
      };
      return { ...server, reload };
    },
    reopenLog: () => daemonLog.reopen(),
    say: config.log.file === undefined && (journal !== undefined || isOneOutput()) ? () => {} : say,
  });
}
