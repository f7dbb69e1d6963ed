/**
 * A small file system, mounted where only the processes that are started on it see it: in a mount namespace that is gone with the process
 * that made it, however the test ends. In memory, or in a file as a kernel's disk is.
 */
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Daemon, run } from "../support/process.ts";
import type { Stage } from "../support/spire.ts";

const MAKE = {
  tmpfs: 'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$0"',
  // The loop device goes with the mount.
  ext4: 'truncate -s "$1" "$0.img" && mke2fs -q -t ext4 -m 0 -E root_owner="$(id -u):$(id -g)" "$0.img" && mount -o loop,errors=remount-ro "$0.img" "$0" && rmdir "$0/lost+found" && chmod 700 "$0"',
} as const;
const HOLD = "echo mounted && exec sleep infinity";
const FILLER = "filler";

export class SmallDisk {
  readonly #holder: Daemon;
  readonly #path: string;

  private constructor(holder: Daemon, path: string) {
    this.#holder = holder;
    this.#path = path;
  }

  /** @param path a directory that is there; @param size as tmpfs takes it */
  static async mount(
    stage: Stage,
    path: string,
    size: string,
    kind: keyof typeof MAKE = "tmpfs",
  ): Promise<SmallDisk> {
    const script = `${MAKE[kind]} && ${HOLD}`;
    const command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script];
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

  /**
   * Mounts it over itself, read-only. The kernel refuses to make a mount read-only through which files are open for writing, so this is what
   * one comes to who does it all the same.
   */
  async coverReadOnly(): Promise<void> {
    const path = this.#path;
    await this.#must("mount", "--bind", path, path);
    await this.#must("mount", "-o", "remount,bind,ro", path);
  }

  async uncover(): Promise<void> {
    await this.#must("umount", this.#path);
  }

  /** As the kernel does it by itself after an error of the disk. For ext4. */
  async abort(): Promise<void> {
    await this.#must("mount", "-o", "remount,abort", this.#path);
  }

  /** As an operator does it who has found the disk in order: unmounted, checked and mounted again. Nothing may be open on it. */
  async remount(): Promise<void> {
    const path = this.#path;
    await this.#must("umount", path);
    await this.#must("e2fsck", "-p", `${path}.img`);
    await this.#must("mount", "-o", "loop,errors=remount-ro", `${path}.img`, path);
  }

  async #must(...command: string[]): Promise<void> {
    const { code, stderr } = await run(this.within(command));
    // fsck says by 1 that it mended something.
    if (code !== 0 && !(command[0] === "e2fsck" && code === 1)) {
      throw new Error(`${command.join(" ")}: ${stderr}`);
    }
  }
}
