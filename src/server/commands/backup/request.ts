/** What the commands about backups have in common: the flags that say where a server's files are, the passphrase, the one file they name. */
import { type Flag, stringFlag, switchFlag } from "#cli/flags.ts";
import { readInputFile } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import type { ServerFiles } from "#server/backup/create.ts";
import type { ServerPlugins } from "#server/plugins.ts";

interface PlaceFlags extends Record<string, Flag<unknown>> {
  readonly config: Flag<string>;
  readonly dataDir: Flag<string>;
  readonly expandEnv: Flag<boolean>;
}

/** As of `run`: whoever starts the server so finds its files by the same flags. */
export const PLACE_FLAGS: PlaceFlags = {
  config: stringFlag("The server's configuration file; conf/server/server.conf when not given"),
  dataDir: stringFlag("The directory for all that the server keeps"),
  expandEnv: switchFlag("Replace $VARIABLES in the configuration file by the environment's values"),
};

export const passphraseFileFlag: Flag<string> = stringFlag(
  "A file that holds the passphrase of the backup; '-' is standard input",
);

const MAX_PASSPHRASE_LENGTH = 4096;

/** Its last line end does not count. @returns undefined when no file is named. @throws Error naming the file */
export async function readPassphrase(path: string, io: Io): Promise<string | undefined> {
  if (path === "") return undefined;
  const passphrase = (await readInputFile(path, io)).replace(/\r?\n$/, "");
  if (passphrase === "") throw new Error(`the passphrase file ${path} is empty`);
  if (passphrase.length > MAX_PASSPHRASE_LENGTH) {
    throw new Error(`the passphrase in ${path} is longer than ${MAX_PASSPHRASE_LENGTH} characters`);
  }
  return passphrase;
}

/** The one word behind the flags. @throws Error when there is none, or more, which would be flags that are not heeded */
export function backupFile(operands: readonly string[]): string {
  const [path, ...more] = operands;
  if (path === undefined) throw new Error("the file of the backup is required, behind the flags");
  const [word] = more;
  if (word === undefined) return path;
  throw new Error(`what is ${JSON.stringify(word)}? Flags go before the file of the backup`);
}

export function serverFiles(
  dataDir: string,
  { dataStore, keyManager }: Pick<ServerPlugins, "dataStore" | "keyManager">,
): ServerFiles {
  return {
    dataDir,
    databasePath: dataStore.connectionString,
    keysPath: keyManager.name === "disk" ? keyManager.keysPath : undefined,
  };
}
