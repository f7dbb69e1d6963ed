import type { SvidFilesConfig } from "#agent/svid-files/config.ts";
import { type Command, defineLeaf } from "#cli/command.ts";
import { stringFlag, switchFlag } from "#cli/flags.ts";
import { obeyOwnFilesOnly } from "#files/obeyed.ts";
import { asJournalError } from "#notify/journal-stream.ts";
import { errorText } from "#spiffe/status-error.ts";

const FLAGS = {
  config: stringFlag(
    "The configuration file: what is written where, and who is told",
    "helper.conf",
  ),
  expandEnv: switchFlag("Replace $VARIABLES in the configuration file by the environment's values"),
};

export const svidFiles: Command = defineLeaf({
  synopsis: "Keeps SVIDs in files, for programs that know no SPIFFE",
  flags: FLAGS,
  run: async ({ flags, io }) => {
    obeyOwnFilesOnly();
    try {
      const { loadSvidFilesConfig } = await import("#agent/svid-files/config.ts");
      const config = loadSvidFilesConfig(flags.config, flags.expandEnv);
      return await write(config, (text) => io.err(asJournalError(process.env, text)));
    } catch (error) {
      io.err(asJournalError(process.env, `${errorText(error)}\n`));
      return 1;
    }
  },
});

async function write(config: SvidFilesConfig, say: (text: string) => void): Promise<number> {
  const [
    { createLog, stdoutSink },
    { systemClock },
    { systemRandom },
    { runDaemon },
    { openLogFile },
    { openJournal },
    { runSvidFiles },
  ] = await Promise.all([
    import("#log/log.ts"),
    import("#clock/clock.ts"),
    import("#clock/random.ts"),
    import("#notify/daemon.ts"),
    import("#cli/log-file.ts"),
    import("#notify/journal.ts"),
    import("#agent/svid-files/svid-files.ts"),
  ]);
  const { file, level, format } = config.log;
  const logFile = file === undefined ? undefined : openLogFile(file);
  const journal = openJournal(process.env, { identifier: "spire-svid-files", fields: {} });
  const sink = logFile ?? journal ?? stdoutSink;
  const log = createLog({ level, format }, () => systemClock.nowMs(), sink);
  for (const warning of config.warnings) log.warn(warning);
  for (const note of config.notes) log.info(note);
  const tools = { log, clock: systemClock, random: systemRandom };
  return runDaemon({
    name: "Writer of SVID files",
    log,
    clock: systemClock,
    start: (tell) => runSvidFiles(config, tools, tell),
    reopenLog: () => logFile?.reopen(),
    say,
  });
}
