import type { AgentConfig } from "#agent/config/config.ts";
import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import { type Flag, intFlag, stringFlag, switchFlag } from "#cli/flags.ts";
import { pickGiven } from "#cli/given.ts";
import { hideArgument } from "#cli/hide-argument.ts";
import { openLogFile } from "#cli/log-file.ts";
import { isOneOutput } from "#cli/same-output.ts";
import { VERSION } from "#cli/version.ts";
import { obeyOwnFilesOnly } from "#files/obeyed.ts";
import { asJournalError } from "#notify/journal-stream.ts";
import { errorText } from "#spiffe/status-error.ts";

export interface RunFlags extends Record<string, Flag<unknown>> {
  readonly config: Flag<string>;
  readonly dataDir: Flag<string>;
  readonly join: Flag<string>;
  readonly joinFile: Flag<string>;
  readonly joinToken: Flag<string>;
  readonly joinTokenFile: Flag<string>;
  readonly logFile: Flag<string>;
  readonly logFormat: Flag<string>;
  readonly logLevel: Flag<string>;
  readonly logSourceLocation: Flag<boolean>;
  readonly serverAddress: Flag<string>;
  readonly serverPort: Flag<number>;
  readonly trustDomain: Flag<string>;
  readonly trustBundle: Flag<string>;
  readonly trustBundleUrl: Flag<string>;
  readonly trustBundleFormat: Flag<string>;
  readonly insecureBootstrap: Flag<boolean>;
  readonly rebootstrapMode: Flag<string>;
  readonly rebootstrapDelay: Flag<string>;
  readonly allowUnauthenticatedVerifiers: Flag<boolean>;
  readonly disableWorkloadAPI: Flag<boolean>;
  readonly disableSDSAPI: Flag<boolean>;
  readonly socketPath: Flag<string>;
  readonly expandEnv: Flag<boolean>;
}

/** The flags of `run` and `validate`; each overrides the same key of the configuration file. */
const RUN_FLAGS: RunFlags = {
  config: stringFlag("The configuration file", "conf/agent/agent.conf"),
  dataDir: stringFlag("The directory for all that the agent keeps"),
  join: stringFlag(
    "The word that the server's `token generate -join` printed; other users may see it here, so rather give -joinFile",
  ),
  joinFile: stringFlag("A file that holds that word, and nothing else is needed to join"),
  joinToken: stringFlag("The join token that the server's `token generate` printed"),
  joinTokenFile: stringFlag("A file that holds the join token"),
  logFile: stringFlag("A file to append the log to, instead of standard output"),
  logFormat: stringFlag("How log lines are written: text or json"),
  logLevel: stringFlag("What is logged: debug, info, warn or error"),
  logSourceLocation: switchFlag(
    "Accepted for the sake of scripts; log lines carry no source location",
  ),
  serverAddress: stringFlag(
    "The IP address or DNS name of the server; may carry the port, host:port",
  ),
  serverPort: intFlag("The port of the server"),
  trustDomain: stringFlag("The trust domain that the agent belongs to"),
  trustBundle: stringFlag("A file with the server's trust bundle, for the first contact"),
  trustBundleUrl: stringFlag(
    "An https URL to get the server's trust bundle from, for the first contact",
  ),
  trustBundleFormat: stringFlag('What that bundle is, "pem" or "spiffe"'),
  insecureBootstrap: switchFlag("Trust whatever server answers first; never for production"),
  rebootstrapMode: stringFlag(
    "When to start over from the first trust bundle: never, auto or always",
  ),
  rebootstrapDelay: stringFlag("How long the server must have been strange before starting over"),
  allowUnauthenticatedVerifiers: switchFlag("Give bundles also to processes without an identity"),
  disableWorkloadAPI: switchFlag("Do not serve the SPIFFE Workload API"),
  disableSDSAPI: switchFlag("Do not serve Envoy's secret discovery service"),
  socketPath: stringFlag("The socket of the Workload API"),
  expandEnv: switchFlag("Replace $VARIABLES in the configuration file by the environment's values"),
};

export const run: Command = defineLeaf({
  synopsis: "Runs the agent",
  flags: RUN_FLAGS,
  run: async (invocation) => {
    const { io } = invocation;
    obeyOwnFilesOnly();
    try {
      const load = (): Promise<AgentConfig> => loadConfig(invocation);
      return await serve(await load(), load, (text) => io.err(asJournalError(process.env, text)));
    } catch (error) {
      io.err(asJournalError(process.env, `${errorText(error)}\n`));
      const { exitCodeOf } = await import("#agent/attestation/refusal.ts");
      return exitCodeOf(error);
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
      io.err(`SPIRE agent configuration file is invalid: ${errorText(error)}\n`);
      return 1;
    }
    io.out("SPIRE agent configuration file is valid.\n");
    return 0;
  },
});

async function loadConfig(
  { flags, given }: Invocation<RunFlags>,
  isFromOutside = false,
): Promise<AgentConfig> {
  for (const secret of [flags.join, flags.joinToken]) hideArgument(secret);
  const { loadAgentConfig } = await import("#agent/config/config.ts");
  return loadAgentConfig(pickGiven(flags, given), isFromOutside);
}

async function serve(
  config: AgentConfig,
  load: () => Promise<AgentConfig>,
  say: (text: string) => void,
): Promise<number> {
  const [
    { DaemonLog },
    { systemClock },
    { systemRandom },
    { runDaemon },
    { openJournal },
    { openDescriptorStore },
    { runAgent },
    { exitCodeOf },
  ] = await Promise.all([
    import("#log/daemon-log.ts"),
    import("#clock/clock.ts"),
    import("#clock/random.ts"),
    import("#notify/daemon.ts"),
    import("#notify/journal.ts"),
    import("#notify/descriptor-store.ts"),
    import("#agent/agent.ts"),
    import("#agent/attestation/refusal.ts"),
  ]);
  const journal = openJournal(process.env, {
    identifier: "spire-agent",
    fields: { trust_domain: config.trustDomain.name },
  });
  const daemonLog = new DaemonLog(config.log, () => systemClock.nowMs(), openLogFile, journal);
  const { log } = daemonLog;
  for (const warning of config.warnings) log.warn(warning);
  for (const note of config.notes) log.info(note);
  const tools = {
    log,
    clock: systemClock,
    random: systemRandom,
    version: VERSION,
    descriptors: openDescriptorStore(process.env, log),
  };
  return runDaemon({
    name: "Agent",
    log,
    clock: systemClock,
    exitCodeOf,
    start: async (tell) => {
      const agent = await runAgent(config, { ...tools, tell });
      const reload = async (): Promise<void> => {
        const next = await load();
        daemonLog.follow(next.log);
        await agent.reload(next);
      };
      return { ...agent, reload };
    },
    reopenLog: () => daemonLog.reopen(),
    say: config.log.file === undefined && (journal !== undefined || isOneOutput()) ? () => {} : say,
  });
}
