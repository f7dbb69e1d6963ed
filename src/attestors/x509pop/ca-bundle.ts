/** The authorities that sign nodes' certificates, from files that are read again when they change. */

import { readFile, stat } from "node:fs/promises";
import { obeyed } from "#files/obeyed.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { readCertificatesFromPem } from "#x509/pem.ts";

export class CaBundle {
  readonly #paths: readonly string[];
  readonly #log: Log;
  #version: string;
  #roots: readonly Certificate[];

  private constructor(paths: readonly string[], log: Log, read: Read) {
    this.#paths = paths;
    this.#log = log;
    this.#version = read.version;
    this.#roots = read.roots;
  }

  /** @throws Error naming the file that cannot be read, or holds no certificate */
  static async open(paths: readonly string[], log: Log): Promise<CaBundle> {
    return new CaBundle(paths, log, await readAll(paths));
  }

  /** The authorities as the files have them now; files that cannot be read leave those read before in place. */
  async roots(): Promise<readonly Certificate[]> {
    try {
      if ((await versionOf(this.#paths)) !== this.#version) {
        const read = await readAll(this.#paths);
        this.#roots = read.roots;
        this.#version = read.version;
        this.#log.info("Reloaded the trust bundle of x509pop", { certificates: read.roots.length });
      }
    } catch (error) {
      this.#log.warn("Failed to reload the trust bundle of x509pop; keeping the previous one", {
        error: errorText(error),
      });
    }
    return this.#roots;
  }
}

interface Read {
  readonly version: string;
  readonly roots: readonly Certificate[];
}

/** The version is taken first: a file that changes while it is read is read once more. */
async function readAll(paths: readonly string[]): Promise<Read> {
  const version = await versionOf(paths).catch(() => "");
  const lists = await Promise.all(paths.map(readOne));
  return { version, roots: lists.flat() };
}

async function readOne(path: string): Promise<Certificate[]> {
  try {
    return readCertificatesFromPem(await readFile(obeyed(path), "utf8"), Certificate.parse);
  } catch (error) {
    throw new Error(`unable to load trust bundle ${JSON.stringify(path)}: ${errorText(error)}`);
  }
}

async function versionOf(paths: readonly string[]): Promise<string> {
  const states = await Promise.all(
    paths.map(async (path) => {
      const { ino, size, mtimeNs } = await stat(path, { bigint: true });
      return `${ino}/${size}/${mtimeNs}`;
    }),
  );
  return states.join(" ");
}
