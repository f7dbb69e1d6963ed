/** What a backup holds, and whether a server could go on with it: the keys must be those of the CA journal. */
import { parseKeyFile } from "#keymanager/disk/key-file.ts";
import {
  type JournalAuthority,
  type JournalRequest,
  journalAuthorities,
  journalRequest,
} from "#server/ca/authority/journal-authorities.ts";
import { type DatabaseContent, inspectDatabase } from "#server/datastore/sqlite/file/copy.ts";
import { errorText } from "#spiffe/status-error.ts";
import { signerFromPrivateKey } from "#x509/keys.ts";

export interface HeldAuthority extends JournalAuthority {
  /** Whether its key is there: `memory` when the server keeps no keys on disk. */
  readonly key: "present" | "missing" | "memory";
}

/** A request for a CA that waits for a signature: without its key, what comes back is of no use. */
export type HeldRequest = JournalRequest & Pick<HeldAuthority, "key">;

export interface Contents extends Pick<DatabaseContent, "schemaVersion" | "counts"> {
  readonly authorities: readonly HeldAuthority[];
  readonly request?: HeldRequest;
}

export interface StoredFiles {
  readonly databasePath: string;
  /** The text of the file of keys; undefined when the server keeps them in memory. */
  readonly keys: string | undefined;
  /** Name of the trust domain. */
  readonly trustDomain: string;
}

/**
 * Checks database and keys, each by itself and against each other. An authority without its key is told, not thrown: see `keyProblem`.
 *
 * @throws Error saying what is wrong
 */
export async function inspectContents(files: StoredFiles): Promise<Contents> {
  const { schemaVersion, counts, journal } = inspectDatabase(files.databasePath);
  const stored = journal === undefined ? [] : await readJournal(journal);
  const id = `spiffe://${files.trustDomain}`;
  const stranger = stored.find(
    ({ trustDomainIds }) => trustDomainIds.length > 0 && !trustDomainIds.includes(id),
  );
  if (stranger !== undefined) {
    throw new Error(
      `its authorities are those of ${stranger.trustDomainIds.join(", ")}, not of ${id}`,
    );
  }
  const publicKeys = readPublicKeys(files.keys);
  const withKey = <Named extends Pick<HeldAuthority, "keyId" | "publicKeySpki">>(
    one: Named,
  ): Named & Pick<HeldAuthority, "key"> => {
    const isPresent = publicKeys.get(one.keyId)?.equals(one.publicKeySpki) === true;
    return { ...one, key: held(isPresent, files.keys === undefined) };
  };
  const authorities = stored.map(withKey);
  const request = journal === undefined ? undefined : await journalRequest(journal);
  return {
    schemaVersion,
    counts,
    authorities,
    ...(request === undefined ? {} : { request: withKey(request) }),
  };
}

/** Why a server could not go on signing as before; undefined when it could. */
export function keyProblem({ authorities }: Contents): string | undefined {
  const lost = authorities.find(({ key, status }) => status === "active" && key === "missing");
  return lost === undefined
    ? undefined
    : `the keys lack ${lost.keyId}, of the active ${lost.title} authority ${lost.authorityId}`;
}

function held(isPresent: boolean, isInMemory: boolean): HeldAuthority["key"] {
  if (isInMemory) return "memory";
  return isPresent ? "present" : "missing";
}

async function readJournal(journal: Uint8Array): Promise<readonly JournalAuthority[]> {
  try {
    return await journalAuthorities(journal);
  } catch (error) {
    throw new Error(`its CA journal cannot be read: ${errorText(error)}`, { cause: error });
  }
}

/** By the IDs of the keys, SubjectPublicKeyInfo. */
function readPublicKeys(text: string | undefined): ReadonlyMap<string, Buffer> {
  try {
    const keys = text === undefined ? [] : [...parseKeyFile(text)];
    return new Map(
      keys.map(([id, key]) => [id, Buffer.from(signerFromPrivateKey(key).publicKeySpki)]),
    );
  } catch (error) {
    throw new Error(`its keys cannot be read: ${errorText(error)}`, { cause: error });
  }
}
