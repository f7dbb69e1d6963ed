import { errorText } from "#spiffe/status-error.ts";
import { type Extracted, extractArchive } from "./archive.ts";
import { type Contents, inspectContents, keyProblem } from "./contents.ts";

export interface Verified extends Pick<Extracted, "manifest" | "isEncrypted"> {
  readonly contents: Contents;
}

/**
 * Reads a backup to its last byte, and checks all that a server would need of it.
 *
 * @param databasePath a new file for the database, the caller's to remove
 * @throws Error naming the backup and what is wrong with it
 */
export async function verifyBackup(
  path: string,
  passphrase: string | undefined,
  databasePath: string,
): Promise<Verified & Extracted> {
  const extracted = await extractArchive(path, passphrase, databasePath);
  const { trustDomain, schemaVersion } = extracted.manifest;
  try {
    const keys = extracted.keys?.toString("utf8");
    const contents = await inspectContents({ databasePath, keys, trustDomain });
    const problem = keyProblem(contents);
    if (problem !== undefined) throw new Error(problem);
    if (contents.schemaVersion !== schemaVersion) {
      throw new Error(`its datastore has not the schema version that its manifest says`);
    }
    return { ...extracted, contents };
  } catch (error) {
    throw new Error(`backup ${path} is of no use: ${errorText(error)}`, { cause: error });
  }
}
