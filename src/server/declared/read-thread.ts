/**
 * The program of the thread that reads a directory: parsing ten thousand entries takes half a second, which nobody else must wait for.
 * Started by `readInWorker`; an entry point of its own in the server's executable. It sends what it found in pieces, the next one when
 * it is asked for.
 */

import { parentPort, workerData } from "node:worker_threads";
import { ownerRules } from "#files/obeyed.ts";
import { errorText } from "#spiffe/status-error.ts";
import { type DirectoryContent, readDirectory } from "./read-directory.ts";
import type { ReadReply } from "./read-in-worker.ts";

/** Entries in one message; to unpack it takes two milliseconds. */
const PIECE = 250;

function reply(message: ReadReply): void {
  parentPort?.postMessage(message);
}

function* pieces({ declared, warnings, fingerprint }: DirectoryContent): Generator<ReadReply> {
  for (let start = 0; start < declared.length; start += PIECE) {
    yield { declared: declared.slice(start, start + PIECE) };
  }
  yield { warnings, fingerprint };
}

readDirectory(String(workerData), ownerRules()).then(
  (content) => {
    const rest = pieces(content);
    const sendNext = (): void => {
      const { value, done } = rest.next();
      if (!done) reply(value);
    };
    parentPort?.on("message", sendNext);
    sendNext();
  },
  (error: unknown) => reply({ problem: errorText(error) }),
);
