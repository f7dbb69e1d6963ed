/** A machine of its own where systemd runs a server and an agent, from the units and configuration that are installed with them. */
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Machine } from "./machine.ts";
import { executable, type Implementation } from "./spire.ts";

const UNITS = resolve(import.meta.dir, "../../systemd");
const SERVER_SOCKET = "/run/spire/server/api.sock";

export const AGENT_SOCKET = "/run/spire/agent/public/api.sock";
const NODE = "spiffe://example.org/node";

export interface MachineNodeOptions {
  /** More lines of the agent block. */
  readonly settings?: string;
  /** More plugin blocks of the agent. */
  readonly plugins?: string;
  /** Whether the reference's executables are there too, as /packages/reference/…. */
  readonly withReference?: boolean;
}

export class MachineNode {
  readonly machine: Machine;
  readonly #directory: string;

  private constructor(machine: Machine, directory: string) {
    this.machine = machine;
    this.#directory = directory;
  }

  /** Boots the machine and joins its agent; needs root. */
  static async boot(options: MachineNodeOptions = {}): Promise<MachineNode> {
    const directory = mkdtempSync(join(tmpdir(), "spire-edge-machine-"));
    const programs = join(directory, "programs");
    place("ours", programs);
    if (options.withReference) place("reference", join(programs, "reference"));
    const node = new MachineNode(await Machine.boot(programs, directory), directory);
    try {
      await node.#install();
      await node.#start(options);
      return node;
    } catch (error) {
      await node.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.machine.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** A command of the server. @returns what it printed */
  server(...words: string[]): Promise<string> {
    return this.machine.must("spire-server", ...words, "-socketPath", SERVER_SOCKET);
  }

  /** Registers a workload. @returns the ID of the entry */
  async register(
    spiffeId: string,
    selectors: readonly string[],
    ...flags: string[]
  ): Promise<string> {
    const chosen = selectors.flatMap((selector) => ["-selector", selector]);
    const ids = [
      "-spiffeID",
      spiffeId,
      ...(flags.includes("-parentID") ? [] : ["-parentID", NODE]),
    ];
    const shown = await this.server(
      "entry",
      "create",
      ...ids,
      ...chosen,
      ...flags,
      "-output",
      "json",
    );
    return JSON.parse(shown).results[0].entry.id;
  }

  /** A join token for an agent of that ID. */
  async token(spiffeId: string): Promise<string> {
    const printed = await this.server(
      "token",
      "generate",
      "-spiffeID",
      spiffeId,
      "-output",
      "json",
    );
    return JSON.parse(printed).value;
  }

  /** What the packages do when they are installed, without packing anything. */
  async #install(): Promise<void> {
    const places = { "sysusers.d": "/usr/lib/sysusers.d", "tmpfiles.d": "/usr/lib/tmpfiles.d" };
    for (const [from, to] of Object.entries({ ".": "/etc/systemd/system", ...places })) {
      const files = readdirSync(join(UNITS, from), { withFileTypes: true });
      for (const { name } of files.filter((file) => file.isFile())) {
        await this.machine.write(join(to, name), readFileSync(join(UNITS, from, name), "utf8"));
      }
    }
    for (const part of ["server", "agent"]) {
      await this.machine.must("ln", "-s", `/packages/spire-${part}`, "/usr/bin/");
      await this.machine.must("systemd-sysusers", `spire-edge-${part}.conf`);
      await this.machine.must("systemd-tmpfiles", "--create", `spire-edge-${part}.conf`);
    }
    await this.machine.must("systemctl", "daemon-reload");
  }

  async #start({ settings = "", plugins = "" }: MachineNodeOptions): Promise<void> {
    const conf = (part: string): string => readFileSync(join(UNITS, `conf/${part}.conf`), "utf8");
    await this.machine.write("/etc/spire/server/server.conf", conf("server"));
    await this.machine.nameTrustDomain();
    await this.machine.must("systemctl", "start", "spire-server");
    const address = ["-serverAddress", "localhost:8081"];
    const word = await this.server("token", "generate", "-join", "-spiffeID", NODE, ...address);
    await this.machine.write("/etc/spire/agent/join", word);
    const agent = conf("agent")
      .replace("agent {", `agent {\n${settings}`)
      .replace("plugins {", `plugins {\n${plugins}`);
    await this.machine.write("/etc/spire/agent/agent.conf", agent);
    await this.machine.must("systemctl", "start", "spire-agent");
  }
}

function place(implementation: Implementation, directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  for (const name of ["spire-server", "spire-agent"] as const) {
    const [from, to] = [executable(implementation, name), join(directory, name)];
    try {
      linkSync(from, to);
    } catch {
      // Another file system.
      copyFileSync(from, to);
    }
  }
}
