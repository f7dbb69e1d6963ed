import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import type { FlagSpecs } from "#cli/flags.ts";
import { outputFlag, printStruct } from "#cli/printer.ts";
import { systemClock } from "#clock/clock.ts";
import { errorText } from "#spiffe/status-error.ts";
import { backupFile, passphraseFileFlag, readPassphrase } from "./request.ts";
import { remarks, summaryJson, summaryText } from "./summary.ts";

const VERIFY_FLAGS = {
  passphraseFile: passphraseFileFlag,
  output: outputFlag(),
} satisfies FlagSpecs;

export const backupVerify: Command = defineLeaf({
  synopsis: "Checks the backup FILE through and through, and tells what is in it",
  flags: VERIFY_FLAGS,
  operands: "FILE",
  run: async (invocation) => {
    try {
      await verify(invocation);
      return 0;
    } catch (error) {
      invocation.io.err(`Error: ${errorText(error)}\n`);
      return 1;
    }
  },
});

async function verify({ flags, operands, io }: Invocation<typeof VERIFY_FLAGS>): Promise<void> {
  const path = backupFile(operands);
  const passphrase = await readPassphrase(flags.passphraseFile, io);
  const { verifyBackup } = await import("#server/backup/verify.ts");
  const directory = mkdtempSync(join(tmpdir(), "spire-server-verify-"));
  try {
    const verified = await verifyBackup(path, passphrase, join(directory, "datastore.sqlite3"));
    printStruct(io, flags.output, summaryJson(verified), () =>
      io.out(`Backup ${path} is sound.\n${summaryText(verified, systemClock.nowSeconds())}`),
    );
    io.err(remarks(verified));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
