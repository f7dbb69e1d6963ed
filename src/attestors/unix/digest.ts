/** SHA-256 of executables, read in pieces so that a large one holds nobody up, and remembered by file version. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Executable } from "./process.ts";

const MAX_REMEMBERED = 1000;

export class ExecutableDigests {
  readonly #known: Map<string, string> = new Map();

  /**
   * @param sizeLimit bytes; 0 for none
   * @returns lowercase hex
   * @throws StatusError INTERNAL when the file is larger, or cannot be read
   */
  async of(pid: number, executable: Executable, sizeLimit: number): Promise<string> {
    if (sizeLimit > 0 && executable.size > sizeLimit) {
      throw new StatusError(
        StatusCode.INTERNAL,
        `workload ${executable.path} is larger than workload_size_limit: ${executable.size} > ${sizeLimit} bytes`,
      );
    }
    const known = this.#known.get(executable.version);
    if (known !== undefined) return known;
    const digest = await hash(`/proc/${pid}/exe`);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(executable.version, digest);
    return digest;
  }
}

async function hash(path: string): Promise<string> {
  const sum = createHash("sha256");
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 256 * 1024 }))
      sum.update(piece);
  } catch (cause) {
    throw new StatusError(StatusCode.INTERNAL, `failed to read ${path}`, { cause });
  }
  return sum.digest("hex");
}
