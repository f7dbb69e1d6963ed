import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import { type FlagSpecs, stringFlag, switchFlag } from "#cli/flags.ts";
import { pickGiven } from "#cli/given.ts";
import { systemClock } from "#clock/clock.ts";
import type { RestoreRequest } from "#server/backup/restore.ts";
import { errorText } from "#spiffe/status-error.ts";
import { approve } from "./approve.ts";
import {
  backupFile,
  PLACE_FLAGS,
  passphraseFileFlag,
  readPassphrase,
  serverFiles,
} from "./request.ts";
import { remarks } from "./summary.ts";

const RESTORE_FLAGS = {
  ...PLACE_FLAGS,
  configOutput: stringFlag("A new file for the configuration file in the backup"),
  force: switchFlag(
    "Restore a backup without a passphrase and ask nobody whether it is the right one",
  ),
  moveAside: switchFlag("Keep what the server has now under other names, rather than refuse"),
  passphraseFile: passphraseFileFlag,
} satisfies FlagSpecs;

export const backupRestore: Command = defineLeaf({
  synopsis: "Puts what is in the backup FILE in the place of what a stopped server keeps",
  flags: RESTORE_FLAGS,
  operands: "FILE",
  run: async (invocation) => {
    try {
      await restore(invocation);
      return 0;
    } catch (error) {
      invocation.io.err(`Error: ${errorText(error)}\n`);
      return 1;
    }
  },
});

async function restore(invocation: Invocation<typeof RESTORE_FLAGS>): Promise<void> {
  const { flags, operands, io } = invocation;
  const path = backupFile(operands);
  const { restoreBackup } = await import("#server/backup/restore.ts");
  const target = await readTarget(invocation);
  const passphrase = await readPassphrase(flags.passphraseFile, io);
  const { manifest, contents, movedAside } = await restoreBackup({
    path,
    passphrase,
    ...target,
    moveAside: flags.moveAside,
    configurationOutput: flags.configOutput === "" ? undefined : flags.configOutput,
    now: systemClock.nowSeconds(),
    approve: (backup) => approve(path, backup, flags.force, io),
  });
  const { entries, agents, joinTokens } = contents.counts;
  io.out(
    `Restored trust domain ${manifest.trustDomain} to ${target.files.dataDir}: ${entries} registration entries, ${agents} agents.\n`,
  );
  for (const name of movedAside) io.out(`What was there before: ${name}\n`);
  if (joinTokens > 0) {
    io.out(`Unused join tokens, ${joinTokens} of them, were left out: make new ones.\n`);
  }
  io.out(
    "What happened since the backup is undone: ban, evict, taint and revoke again what must not be trusted.\n",
  );
  io.err(remarks({ manifest, contents }));
}

/** Where the server of this configuration keeps its files; without a configuration file, what a server without one would do. */
async function readTarget({
  flags,
  given,
}: Invocation<typeof RESTORE_FLAGS>): Promise<Pick<RestoreRequest, "files" | "trustDomain">> {
  const { configurationPath, loadServerConfig, zeroDataDir } = await import(
    "#server/config/config.ts"
  );
  const { config, dataDir, expandEnv } = flags;
  const placed = pickGiven({ config, dataDir, expandEnv }, given);
  if (configurationPath(placed, true) === undefined) {
    const [{ zeroPlugins }, { SERVER_PLUGINS }] = await Promise.all([
      import("#config/read-plugins.ts"),
      import("#server/plugins.ts"),
    ]);
    const directory = zeroDataDir(placed);
    return {
      files: serverFiles(directory, zeroPlugins(SERVER_PLUGINS, { dataDir: directory })),
      trustDomain: undefined,
    };
  }
  const server = await loadServerConfig(placed, true);
  return {
    files: serverFiles(server.dataDir, server.plugins),
    trustDomain: server.trustDomain.name,
  };
}
