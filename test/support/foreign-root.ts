/** The root directory of another system, for executables that need one: Debian for arm64, under an emulator, or the libraries of Alpine. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Daemon, type Finished, type RunOptions, run } from "./process.ts";

/** Downloads from a package mirror are in it. */
const BUILD_TIMEOUT_MS = 300_000;

export class ForeignRoot {
  readonly #holder: Daemon;
  readonly #leader: string;

  private constructor(holder: Daemon, leader: string) {
    this.#holder = holder;
    this.#leader = leader;
  }

  /**
   * Opens it, with what it has when new; needs root.
   *
   * @param packages a directory of this machine, there seen as /packages
   * @param directory for what goes wrong
   */
  static async open(
    name: "arm64" | "musl",
    packages: string,
    directory: string,
  ): Promise<ForeignRoot> {
    const archive = await ForeignRoot.archive(name);
    const command = [join(import.meta.dir, "open-root"), archive, packages];
    const holder = new Daemon(command, join(directory, "root.log"));
    const leader = await holder.line((line) => /^\d+$/.test(line), BUILD_TIMEOUT_MS);
    return new ForeignRoot(holder, leader);
  }

  /** The files that it has when new, as an archive for tar. */
  static async archive(name: "arm64" | "musl"): Promise<string> {
    const { code, stdout, stderr } = await run([join(import.meta.dir, "build-root"), name], {
      env: { HOME: process.env["HOME"] ?? "/root" },
      timeoutMs: BUILD_TIMEOUT_MS,
    });
    if (code !== 0) throw new Error(`build-root ${name}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  /** Writes a file there, owned by root. */
  write(path: string, text: string): void {
    writeFileSync(join(`/proc/${this.#leader}/root`, path), text);
  }

  /** Runs a command there, as root or as the user that the options name. */
  run(command: readonly string[], { uid = 0, ...options }: RunOptions = {}): Promise<Finished> {
    return run(this.#entered(command, uid), { timeoutMs: 180_000, ...options });
  }

  /** Runs a command as root that must succeed. @returns what it printed */
  async must(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(command);
    if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts what runs there until this is closed. */
  daemon(command: readonly string[], logFile: string, options?: RunOptions): Daemon {
    return new Daemon(this.#entered(command, 0), logFile, options);
  }

  /** Ends all that runs there; nothing of it is kept. */
  async close(): Promise<void> {
    if (this.#holder.running) process.kill(Number(this.#leader), "SIGKILL");
    await this.#holder.exited;
  }

  #entered(command: readonly string[], uid: number): string[] {
    const spaces = ["-U", "-m", "-u", "-i", "-n", "-p"];
    return ["nsenter", "-t", this.#leader, ...spaces, "-S", `${uid}`, "-G", `${uid}`, ...command];
  }
}
