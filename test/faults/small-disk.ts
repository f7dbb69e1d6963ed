/**
 * A small file system in memory, mounted where only the processes that are started on it see it: in a mount namespace that is gone with the
 * process that made it, however the test ends.
 */
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Daemon } from "../support/process.ts";
import type { Stage } from "../support/spire.ts";

const MOUNT =
  'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$0" && echo mounted && exec sleep infinity';
const FILLER = "filler";

export class SmallDisk {
  readonly #holder: Daemon;
  readonly #path: string;

  private constructor(holder: Daemon, path: string) {
    this.#holder = holder;
    this.#path = path;
  }

  /** @param path a directory that is there; @param size as tmpfs takes it */
  static async mount(stage: Stage, path: string, size: string): Promise<SmallDisk> {
    const command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT];
    const holder = stage.daemon([...command, path, size], `${path}.mount.log`);
    await holder.line((line) => line === "mounted");
    return new SmallDisk(holder, path);
  }

  /** The command line that runs a command where the file system is. */
  within(command: readonly string[]): string[] {
    return ["nsenter", `--mount=/proc/${this.#holder.pid}/ns/mnt`, "--", ...command];
  }

  /** How this process reaches what the others know by its usual path. */
  reach(name = ""): string {
    return join(`/proc/${this.#holder.pid}/root`, this.#path, name);
  }

  /** Bytes. */
  get left(): number {
    const { bavail, bsize } = statfsSync(this.reach());
    return bavail * bsize;
  }

  /** Leaves so many bytes. */
  fill(leave = 0): void {
    this.free();
    writeFileSync(this.reach(FILLER), new Uint8Array(Math.max(0, this.left - leave)));
  }

  free(): void {
    rmSync(this.reach(FILLER), { force: true });
  }
}
