/** Machines with a real systemd each, and an Ethernet between them that nothing else is at. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Machine } from "./machine.ts";
import { Daemon, run } from "./process.ts";

const INSTALL_SYSTEMD = resolve(import.meta.dir, "../systemd/install-systemd");

/** By hostname; from a block that is there for documentation alone (RFC 5737 §3). */
const ADDRESSES = {
  "spire-1": "192.0.2.1",
  "node-1": "192.0.2.11",
  "node-2": "192.0.2.12",
} as const;

export type Hostname = keyof typeof ADDRESSES;

const HOSTS = Object.entries({ localhost: "127.0.0.1", ...ADDRESSES })
  .map(([hostname, address]) => `${address} ${hostname}\n`)
  .join("");

/** The address of the card goes with the name as well, so that nobody has to forget that of a machine that was replaced. */
const networkOf = (hostname: Hostname): string => `[Match]
Name=host0
[Link]
MACAddress=02:00:00:00:00:${ADDRESSES[hostname].split(".").at(-1)?.padStart(2, "0")}
[Network]
Address=${ADDRESSES[hostname]}/24
`;

/** A switch: a bridge in a network namespace that lasts as long as the last process in it. */
const SWITCH = "ip link add fleet type bridge && ip link set fleet up && echo up && read -r _";

export class Fleet {
  readonly #switch: Daemon;
  readonly #directory: string;
  readonly #packages: string;
  readonly #machines = new Set<Machine>();

  private constructor(network: Daemon, directory: string, packages: string) {
    this.#switch = network;
    this.#directory = directory;
    this.#packages = packages;
  }

  /**
   * Makes the network; needs root.
   *
   * @param directory for what the consoles print
   * @param packages a directory that every machine sees as /packages
   */
  static async start(directory: string, packages: string): Promise<Fleet> {
    // In there, no package can be fetched.
    const { code, stderr } = await run([INSTALL_SYSTEMD], { timeoutMs: 120_000 });
    if (code !== 0) throw new Error(stderr);
    const command = ["unshare", "--net", "bash", "-c", SWITCH];
    const network = new Daemon(command, join(directory, "network.log"));
    await network.line((line) => line === "up");
    writeFileSync(join(packages, "hosts"), HOSTS);
    return new Fleet(network, directory, packages);
  }

  /** Boots a machine of that name and address, with an empty disk. */
  async boot(hostname: Hostname): Promise<Machine> {
    const place = { hostname, network: this.#switch.pid };
    const machine = await Machine.boot(this.#packages, this.#directory, place);
    this.#machines.add(machine);
    await machine.write("/etc/systemd/network/10-fleet.network", networkOf(hostname));
    await machine.must("cp", "/packages/hosts", "/etc/hosts");
    await machine.must("systemctl", "enable", "--now", "--quiet", "systemd-networkd");
    return machine;
  }

  /** Throws a machine away, with all that was on it. */
  async discard(machine: Machine): Promise<void> {
    this.#machines.delete(machine);
    await machine.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#machines].map((machine) => machine.close()));
    await this.#switch.stop();
  }
}
