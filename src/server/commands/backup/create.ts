import { existsSync } from "node:fs";
import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import { type FlagSpecs, stringFlag, switchFlag } from "#cli/flags.ts";
import { pickGiven } from "#cli/given.ts";
import type { Io } from "#cli/io.ts";
import { VERSION } from "#cli/version.ts";
import { systemClock } from "#clock/clock.ts";
import { errorText } from "#spiffe/status-error.ts";
import { PLACE_FLAGS, passphraseFileFlag, readPassphrase, serverFiles } from "./request.ts";
import { remarks, summaryText } from "./summary.ts";

const CREATE_FLAGS = {
  ...PLACE_FLAGS,
  trustDomain: stringFlag("The trust domain of a server that runs without a configuration file"),
  output: stringFlag("The file to write the backup to"),
  overwrite: switchFlag("Replace that file if it is there"),
  passphraseFile: passphraseFileFlag,
} satisfies FlagSpecs;

export const backupCreate: Command = defineLeaf({
  synopsis: "Writes all that a server keeps into one file, while it runs or not",
  flags: CREATE_FLAGS,
  run: async (invocation) => {
    try {
      await create(invocation);
      return 0;
    } catch (error) {
      invocation.io.err(`Error: ${errorText(error)}\n`);
      return 1;
    }
  },
});

async function create(invocation: Invocation<typeof CREATE_FLAGS>): Promise<void> {
  const { flags, given, io } = invocation;
  checkOutput(flags.output, flags.overwrite);
  const [{ configurationPath, loadServerConfig }, { createBackup }] = await Promise.all([
    import("#server/config/config.ts"),
    import("#server/backup/create.ts"),
  ]);
  const { config, dataDir, trustDomain, expandEnv } = flags;
  const runFlags = pickGiven({ config, dataDir, trustDomain, expandEnv }, given);
  const server = await loadServerConfig(runFlags, true);
  const passphrase = await readPassphrase(flags.passphraseFile, io);
  const made = await createBackup({
    files: serverFiles(server.dataDir, server.plugins),
    trustDomain: server.trustDomain.name,
    configurationPath: configurationPath(runFlags, true),
    programVersion: VERSION,
    output: flags.output,
    passphrase,
    now: systemClock.nowSeconds(),
  });
  const isEncrypted = passphrase !== undefined;
  io.out(`Backup written to ${flags.output}\n`);
  io.out(summaryText({ ...made, isEncrypted }, systemClock.nowSeconds()));
  warn(io, remarks(made));
  if (server.plugins.upstreamAuthority?.name === "disk") {
    warn(io, "The files of the UpstreamAuthority are not in it: keep them as well.\n");
  }
  if (!isEncrypted && made.manifest.keyManager === "disk") {
    warn(
      io,
      "It holds the private keys of the trust domain, not encrypted: see -passphraseFile.\n",
    );
  }
}

function warn(io: Io, text: string): void {
  io.err(text);
}

/** @throws Error */
function checkOutput(output: string, overwrite: boolean): void {
  if (output === "") throw new Error("a file for the backup is required: -output FILE");
  // Elsewhere the flag of this name says how to print.
  if (output === "json" || output === "pretty") {
    throw new Error(`-output is the file of the backup: write ./${output} if that is its name`);
  }
  if (!overwrite && existsSync(output)) {
    throw new Error(`${output} is there already: name another file, or give -overwrite`);
  }
}
