/**
 * A server or an agent under test: ours or the reference's, from the same configuration, in a directory of its own.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Daemon, eventually, type Finished, freePort, type RunOptions, run } from "./process.ts";

export type Implementation = "ours" | "reference";

export const TRUST_DOMAIN = "example.org";

const ROOT = resolve(import.meta.dir, "../..");

/** Where the executables of an implementation lie. */
export function executable(
  implementation: Implementation,
  name: "spire-server" | "spire-agent",
): string {
  return implementation === "ours"
    ? join(process.env["SPIRE_EDGE_DIST"] ?? join(ROOT, "dist"), name)
    : join(ROOT, "build/peers/reference", name);
}

/** What test/interop/build-peers builds. */
export const PEERS: string = join(ROOT, "build/peers");
export const GO_CLIENT: string = join(PEERS, "go-client");
export const PYTHON: string = join(PEERS, "python/bin/python");
export const PYTHON_CLIENT: string = join(ROOT, "test/interop/python-client/client.py");

/** Directories and processes of one test file, all ended and removed by `close`. */
export class Stage {
  readonly directory: string;
  readonly #daemons: Daemon[] = [];

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "spire-edge-"));
    chmodSync(this.directory, 0o755);
  }

  /** A fresh directory, reachable for every uid. */
  room(name: string): string {
    const path = mkdtempSync(join(this.directory, `${name}-`));
    chmodSync(path, 0o755);
    return path;
  }

  daemon(command: readonly string[], logFile: string, options?: RunOptions): Daemon {
    const daemon = new Daemon(command, logFile, options);
    this.#daemons.push(daemon);
    return daemon;
  }

  async close(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
    if (process.env["SPIRE_EDGE_KEEP"] === undefined) {
      rmSync(this.directory, { recursive: true, force: true });
    }
  }
}

export interface ServerOptions {
  readonly trustDomain?: string;
  /** Of the server's process. */
  readonly env?: Readonly<Record<string, string>>;
  /** More lines of the server block. */
  readonly settings?: string;
  /** More plugin blocks. */
  readonly plugins?: string;
  /** More blocks beside the server's. */
  readonly more?: string;
  /** Replaces the KeyManager block. */
  readonly keyManager?: string;
  readonly port?: number;
  readonly directory?: string;
}

export class TestServer {
  readonly implementation: Implementation;
  readonly trustDomain: string;
  readonly directory: string;
  readonly port: number;
  readonly socket: string;
  readonly configuration: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #stage: Stage;
  #daemon: Daemon | undefined;

  private constructor(
    stage: Stage,
    implementation: Implementation,
    directory: string,
    port: number,
    options: ServerOptions,
  ) {
    this.#stage = stage;
    this.implementation = implementation;
    this.trustDomain = options.trustDomain ?? TRUST_DOMAIN;
    this.directory = directory;
    this.port = port;
    this.#env = options.env ?? {};
    this.socket = join(directory, "private", "api.sock");
    this.configuration = join(directory, "server.conf");
  }

  /** Writes the configuration; does not start anything yet. */
  static async prepare(
    stage: Stage,
    implementation: Implementation,
    options: ServerOptions = {},
  ): Promise<TestServer> {
    const directory = options.directory ?? stage.room(`server-${implementation}`);
    const server = new TestServer(
      stage,
      implementation,
      directory,
      options.port ?? (await freePort()),
      options,
    );
    const data = join(directory, "data");
    mkdirSync(data, { recursive: true, mode: 0o700 });
    writeFileSync(
      server.configuration,
      `server {
  bind_address = "127.0.0.1"
  bind_port = ${server.port}
  socket_path = "${server.socket}"
  trust_domain = "${server.trustDomain}"
  data_dir = "${data}"
  log_level = "DEBUG"
  ${options.settings ?? ""}
}
plugins {
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "${join(data, "datastore.sqlite3")}"
    }
  }
  ${options.keyManager ?? `KeyManager "disk" {\n    plugin_data {\n      keys_path = "${join(data, "keys.json")}"\n    }\n  }`}
  NodeAttestor "join_token" {
    plugin_data {}
  }
  ${options.plugins ?? ""}
}
${options.more ?? ""}
`,
    );
    return server;
  }

  static async start(
    stage: Stage,
    implementation: Implementation,
    options: ServerOptions = {},
  ): Promise<TestServer> {
    const server = await TestServer.prepare(stage, implementation, options);
    await server.start();
    return server;
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error("the server was not started");
    return this.#daemon;
  }

  /** Starts (again) and waits until it is healthy, or has logged the words of one that cannot be yet. */
  async start(words?: string): Promise<void> {
    this.#daemon = this.launch();
    const { daemon } = this;
    if (words !== undefined) return void (await daemon.line((line) => line.includes(words)));
    await eventually(`${this.implementation} server healthy`, async () => {
      const check = await this.cli("healthcheck");
      if (check.code === 0) return true;
      if (!this.daemon.running) throw new Error(this.daemon.lines.slice(-10).join("\n"));
      return undefined;
    });
  }

  /** Starts the executable without waiting for anything. */
  launch(): Daemon {
    return this.#stage.daemon(
      [executable(this.implementation, "spire-server"), "run", "-config", this.configuration],
      join(this.directory, "server.log"),
      { cwd: this.directory, env: this.#env },
    );
  }

  /** Runs a command line of this server's own executable against its admin socket. */
  cli(...words: string[]): Promise<Finished> {
    return this.cliOf(this.implementation, words);
  }

  /** Runs a command line of either implementation's executable against this server's admin socket. */
  cliOf(
    implementation: Implementation,
    words: readonly string[],
    options: RunOptions = {},
  ): Promise<Finished> {
    const count = words.findIndex((word) => word.startsWith("-"));
    const at = count === -1 ? words.length : count;
    return run(
      [
        executable(implementation, "spire-server"),
        ...words.slice(0, at),
        "-socketPath",
        this.socket,
        ...words.slice(at),
      ],
      options,
    );
  }

  /** Runs a command that must succeed and gives its JSON answer. */
  async json(...words: string[]): Promise<Record<string, unknown>> {
    const answer = await this.cli(...words, "-output", "json");
    if (answer.code !== 0) throw new Error(`${words.join(" ")}: ${answer.stderr}${answer.stdout}`);
    return JSON.parse(answer.stdout) as Record<string, unknown>;
  }

  /** A fresh join token. */
  async token(...more: string[]): Promise<string> {
    return String((await this.json("token", "generate", ...more))["value"]);
  }

  /** The trust bundle in PEM, in a file of its own. */
  async bundleFile(): Promise<string> {
    const shown = await this.cli("bundle", "show");
    if (shown.code !== 0) throw new Error(shown.stderr);
    const path = join(this.directory, "bundle.pem");
    writeFileSync(path, shown.stdout);
    return path;
  }

  /** Creates an entry and gives its ID. */
  async entry(
    spiffeId: string,
    parentId: string,
    selectors: readonly string[],
    ...more: string[]
  ): Promise<string> {
    const words = selectors.flatMap((selector) => ["-selector", selector]);
    const answer = await this.cli(
      "entry",
      "create",
      "-spiffeID",
      spiffeId,
      "-parentID",
      parentId,
      ...words,
      ...more,
    );
    const id = /Entry ID +: (\S+)/.exec(answer.stdout)?.[1];
    if (answer.code !== 0 || id === undefined) throw new Error(answer.stderr + answer.stdout);
    return id;
  }
}

export interface AgentOptions {
  /** Replaces the line that says where the trust bundle is. */
  readonly trustBundle?: string;
  /** More blocks beside the agent's. */
  readonly more?: string;
  readonly settings?: string;
  readonly unix?: string;
  readonly keyManager?: string;
  /** Used instead of a token of the server's. */
  readonly token?: string;
  /** Replaces the NodeAttestor block; the agent then has no token. */
  readonly nodeAttestor?: string;
  readonly directory?: string;
  /** Instead of the server's own. */
  readonly serverAddress?: string;
  readonly serverPort?: number;
  /** Of the agent's process. */
  readonly env?: Readonly<Record<string, string>>;
}

export class TestAgent {
  readonly implementation: Implementation;
  readonly directory: string;
  readonly socket: string;
  readonly configuration: string;
  readonly token: string;
  readonly trustDomain: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #stage: Stage;
  #daemon: Daemon | undefined;

  private constructor(
    stage: Stage,
    implementation: Implementation,
    directory: string,
    token: string,
    trustDomain: string,
    env: Readonly<Record<string, string>>,
  ) {
    this.#env = env;
    this.#stage = stage;
    this.implementation = implementation;
    this.directory = directory;
    this.token = token;
    this.trustDomain = trustDomain;
    this.socket = join(directory, "public", "api.sock");
    this.configuration = join(directory, "agent.conf");
  }

  get id(): string {
    return `spiffe://${this.trustDomain}/spire/agent/join_token/${this.token}`;
  }

  /** Writes the configuration of an agent that joins the server by token, and trusts its bundle from a file. */
  static async prepare(
    stage: Stage,
    implementation: Implementation,
    server: TestServer,
    options: AgentOptions = {},
  ): Promise<TestAgent> {
    const directory = options.directory ?? stage.room(`agent-${implementation}`);
    const token = options.token ?? (options.nodeAttestor ? "" : await server.token());
    const agent = new TestAgent(
      stage,
      implementation,
      directory,
      token,
      server.trustDomain,
      options.env ?? {},
    );
    const data = join(directory, "data");
    mkdirSync(data, { recursive: true, mode: 0o700 });
    writeFileSync(
      agent.configuration,
      `agent {
  data_dir = "${data}"
  log_level = "DEBUG"
  server_address = "${options.serverAddress ?? "127.0.0.1"}"
  server_port = ${options.serverPort ?? server.port}
  socket_path = "${agent.socket}"
  trust_domain = "${server.trustDomain}"
  ${options.trustBundle ?? `trust_bundle_path = "${await server.bundleFile()}"`}
  ${token === "" ? "" : `join_token = "${token}"`}
  ${options.settings ?? ""}
}
plugins {
  ${options.keyManager ?? `KeyManager "disk" {\n    plugin_data {\n      directory = "${data}"\n    }\n  }`}
  ${options.nodeAttestor ?? `NodeAttestor "join_token" {\n    plugin_data {}\n  }`}
  WorkloadAttestor "unix" {
    plugin_data {
      ${options.unix ?? ""}
    }
  }
}
${options.more ?? ""}
`,
    );
    return agent;
  }

  static async start(
    stage: Stage,
    implementation: Implementation,
    server: TestServer,
    options: AgentOptions = {},
  ): Promise<TestAgent> {
    const agent = await TestAgent.prepare(stage, implementation, server, options);
    await agent.start();
    return agent;
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error("the agent was not started");
    return this.#daemon;
  }

  async start(): Promise<void> {
    this.#daemon = this.launch();
    await eventually(`${this.implementation} agent healthy`, async () => {
      const check = await this.cli(["healthcheck"]);
      if (check.code === 0) return true;
      if (!this.daemon.running) throw new Error(this.daemon.lines.slice(-10).join("\n"));
      return undefined;
    });
  }

  launch(): Daemon {
    return this.#stage.daemon(
      [executable(this.implementation, "spire-agent"), "run", "-config", this.configuration],
      join(this.directory, "agent.log"),
      { cwd: this.directory, env: this.#env },
    );
  }

  /** Runs this agent's own executable as a workload of the given uid. */
  cli(words: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.cliOf(this.implementation, words, options);
  }

  cliOf(
    implementation: Implementation,
    words: readonly string[],
    options: RunOptions = {},
  ): Promise<Finished> {
    const count = words.findIndex((word) => word.startsWith("-"));
    const at = count === -1 ? words.length : count;
    return run(
      [
        executable(implementation, "spire-agent"),
        ...words.slice(0, at),
        "-socketPath",
        this.socket,
        ...words.slice(at),
      ],
      options,
    );
  }
}
