import { Worker } from "node:worker_threads";

/**
 * Starts the thread that writes. It opens nothing before a Writer tells it the database, so that a server can start it first of all and
 * load the rest of itself meanwhile.
 */
export function startWriterThread(): Worker {
  return new Worker(location());
}

/**
 * Where the thread's program is: beside this file, or inside the executable, where the build puts every entry point under
 * its bare name (`--entry-naming '[name].[ext]'`).
 */
function location(): string | URL {
  return import.meta.url.includes("/$bunfs/")
    ? "/$bunfs/root/writer-thread.js"
    : new URL("./writer-thread.ts", import.meta.url);
}
