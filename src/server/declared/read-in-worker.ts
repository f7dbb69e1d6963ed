import { Worker } from "node:worker_threads";
import type { Clock } from "#clock/clock.ts";
import { ConfigError } from "#config/config-error.ts";
import { ownerRules } from "#files/obeyed.ts";
import type { DeclaredEntry } from "#proto/spire_edge/declared/v1/declared.ts";
import { listFiles } from "./list-files.ts";
import { type DirectoryContent, readDirectory } from "./read-directory.ts";

/** From the thread: a piece of the entries; what else there is to know, at the end; or what is wrong. */
export type ReadReply =
  | { readonly declared: readonly DeclaredEntry[] }
  | Omit<DirectoryContent, "declared">
  | { readonly problem: string };

/** That much is parsed in a few milliseconds, for which a thread would cost twenty megabytes of memory. */
const SMALL_BYTES = 16 * 1024;
/** A disk or a network that hangs must not hang the next reading, too. */
const TIMEOUT_MS = 120_000;

/**
 * Reads the server's own directory of declared entries without keeping others waiting.
 *
 * @throws ConfigError as readDirectory does
 */
export async function readInWorker(directory: string, clock: Clock): Promise<DirectoryContent> {
  const { bytes } = await listFiles(directory, ownerRules());
  return await (bytes > SMALL_BYTES
    ? readInThread(directory, clock)
    : readDirectory(directory, ownerRules()));
}

async function readInThread(directory: string, clock: Clock): Promise<DirectoryContent> {
  const worker = new Worker(threadLocation(), { workerData: directory });
  const { promise, resolve, reject } = Promise.withResolvers<DirectoryContent>();
  const declared: DeclaredEntry[] = [];
  worker.on("message", (reply: ReadReply) => {
    if ("problem" in reply) {
      reject(new ConfigError([reply.problem]));
    } else if ("declared" in reply) {
      for (const one of reply.declared) declared.push(one);
      worker.postMessage("next");
    } else {
      resolve({ declared, ...reply });
    }
  });
  worker.on("error", reject);
  worker.on("exit", () => reject(new Error(`${directory}: its reader ended`)));
  const late = clock.after(TIMEOUT_MS, () =>
    reject(new ConfigError([`${directory}: could not be read in ${TIMEOUT_MS / 1000} seconds`])),
  );
  try {
    return await promise;
  } finally {
    late.cancel();
    await worker.terminate();
  }
}

/** As of the datastore's writer: beside this file, or inside the executable under its bare name. */
function threadLocation(): string | URL {
  return import.meta.url.includes("/$bunfs/")
    ? "/$bunfs/root/read-thread.js"
    : new URL("./read-thread.ts", import.meta.url);
}
