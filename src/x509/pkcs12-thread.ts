/**
 * The program of the thread that opens PKCS#12 files: whoever wrote a file chose how long that takes. Started by `readPkcs12`; an entry point
 * of its own in both executables.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { Pkcs12Reply, Pkcs12Request } from "./pkcs12.ts";
import { parsePkcs12 } from "./pkcs12-parse.ts";

function reply(message: Pkcs12Reply): void {
  parentPort?.postMessage(message);
}

const { bytes, password } = workerData as Pkcs12Request;
try {
  reply({ parts: parsePkcs12(bytes, password) });
} catch (error) {
  reply({ problem: error instanceof Error ? error.message : String(error) });
}
