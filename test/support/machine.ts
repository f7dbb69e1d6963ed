/** A machine of its own with a real systemd as process 1, for tests of units and packages. */
import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Daemon, eventually, type Finished, run } from "./process.ts";

/** In place of a process id. */
const ENDED = "";

const BOOT = resolve(import.meta.dir, "../systemd/boot");

/** So many were booted by this process. */
let booted = 0;

/** A place in a network of machines. */
export interface Place {
  readonly hostname: string;
  /** A process in the network namespace that has the bridge `fleet`. */
  readonly network: number;
}

export class Machine {
  readonly #name: string;
  readonly #console: Daemon;
  #leader: string;

  private constructor(name: string, console: Daemon, leader: string) {
    this.#name = name;
    this.#console = console;
    this.#leader = leader;
  }

  /**
   * Boots it; needs root.
   *
   * @param packages a directory of this machine, there seen as /packages
   * @param directory for what its console prints
   * @param place without one it has no network but loopback, and starts no service that is enabled
   * @throws Error with what the boot printed, when this machine cannot do it
   */
  static async boot(packages: string, directory: string, place?: Place): Promise<Machine> {
    booted += 1;
    const name = `spire-edge.${process.pid}.${booted}`;
    const enter = place === undefined ? [] : ["nsenter", "-t", String(place.network), "-n", "--"];
    const words = place === undefined ? [] : [place.hostname];
    const command = [...enter, BOOT, name, packages, ...words];
    const console = new Daemon(command, join(directory, `console-${booted}.log`));
    try {
      // The installation of systemd-nspawn, where it is missing, is part of this time.
      const leader = await eventually("a process 1", async () => leaderOf(name, console), 90_000);
      if (leader === ENDED) throw new Error("the boot ended");
      const machine = new Machine(name, console, leader);
      await machine.#up();
      return machine;
    } catch (error) {
      const printed = console.lines.slice(-15).join("\n");
      await console.stop();
      throw new Error(`systemd cannot be booted here:\n${printed}`, { cause: error });
    }
  }

  /** Runs a command there, as root. */
  run(...command: string[]): Promise<Finished> {
    const enter = ["nsenter", "-t", this.#leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"];
    // The directory that this process is in does not exist there.
    const there = ["sh", "-c", 'cd / && exec "$@"', "-", ...command];
    return run([...enter, ...there], {
      env: { LC_ALL: "C.UTF-8" },
      timeoutMs: 180_000,
    });
  }

  /** Runs a command that must succeed. @returns what it printed */
  async must(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...command);
    if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** What an operator does first: the file of the package names no trust domain. */
  async nameTrustDomain(): Promise<void> {
    const edit = 's/^ *#trust_domain = .*/  trust_domain = "example.org"/';
    await this.must("sed", "-i", edit, "/etc/spire/server/server.conf");
  }

  /** Writes a file there. */
  async write(path: string, text: string): Promise<void> {
    await this.must(
      "sh",
      "-c",
      'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"',
      "-",
      path,
      text,
    );
  }

  /** Properties of a unit, as systemd has them in force; one that comes several times has a line for each. */
  async show(unit: string): Promise<Readonly<Record<string, string>>> {
    const shown: Record<string, string> = {};
    for (const line of (await this.must("systemctl", "show", "--all", unit)).split("\n")) {
      const at = line.indexOf("=");
      const [name, value] = [line.slice(0, at), line.slice(at + 1)];
      shown[name] = shown[name] === undefined ? value : `${shown[name]}\n${value}`;
    }
    return shown;
  }

  /** The last lines that a unit and systemd wrote about it. */
  journal(unit: string): Promise<string> {
    return this.must("journalctl", "--unit", unit, "--no-pager", "--output=cat");
  }

  /** Has it reboot, in order or as after a power cut, when nothing is told to stop, and waits until it is up again. */
  async reboot(how: "in order" | "power cut"): Promise<void> {
    // The command is a process there, and may be ended before it says how it went.
    await this.run("systemctl", "reboot", ...(how === "power cut" ? ["--force", "--force"] : []));
    const leader = await eventually("another process 1", async () => {
      const found = leaderOf(this.#name, this.#console);
      return found === this.#leader ? undefined : found;
    });
    if (leader === ENDED) throw new Error("the machine ended instead of rebooting");
    this.#leader = leader;
    await this.#up();
  }

  /** As by pulling the plug; nothing of it is kept. */
  async close(): Promise<void> {
    const leader = leaderOf(this.#name, this.#console);
    if (leader) process.kill(Number(leader), "SIGKILL");
    else await this.#console.stop();
    await this.#console.exited;
  }

  /** Copies a file from there. */
  copyOut(path: string, to: string): void {
    copyFileSync(`/proc/${this.#leader}/root${path}`, to);
  }

  /** Waits until every service that is enabled has been started or has failed. */
  async #up(): Promise<void> {
    await eventually("systemd is up", async () => {
      const { stdout } = await this.run("systemctl", "is-system-running");
      return /running|degraded/.test(stdout) || undefined;
    });
  }
}

/** The process that is number 1 in a namespace of its own and in the named control group. */
function leaderOf(name: string, console: Daemon): string | undefined {
  if (!console.running) return ENDED;
  return readdirSync("/proc").find((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return (
        readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/${name}/`) &&
        /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
      );
    } catch {
      return false;
    }
  });
}
