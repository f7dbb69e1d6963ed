/** SIGHUP to either daemon: its configuration is read again, what can be is taken over, and a broken one changes nothing. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callUnary, unixChannel } from "#grpc/client.ts";
import { DelegatedIdentityClient } from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import { endpointBlock, offer } from "../support/federation.ts";
import { type Daemon, eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { WebCa } from "../support/web-ca.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

interface Reloaded {
  readonly daemon: Daemon;
  readonly configuration: string;
}

/** Changes the configuration file and has it read again. @returns what was logged of that */
async function reload(
  { daemon, configuration }: Reloaded,
  ...changes: readonly (readonly [string, string])[]
): Promise<string> {
  const from = daemon.lines.length;
  let text = readFileSync(configuration, "utf8");
  for (const [before, after] of changes) {
    expect(text).toContain(before);
    text = text.replaceAll(before, after);
  }
  writeFileSync(configuration, text);
  daemon.signal("SIGHUP");
  await daemon.line((line) => / (not )?reloaded(: |")/.test(line), undefined, from);
  return daemon.lines.slice(from).join("\n");
}

const DEBUG = 'log_level = "DEBUG"';
const CLIENT = executable("ours", "spire-agent");
const INFO = 'log_level = "INFO"';
const RESTART = 'msg="Configuration changes take effect after a restart"';

/** A root of its own; gives the lines of plugin_data. */
async function root(name: string, directory: string): Promise<string> {
  const [key, certificate] = [join(directory, `${name}.key`), join(directory, `${name}.pem`)];
  const made = await run([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-days", "3", "-subj", `/CN=${name}`, "-keyout", key, "-out", certificate],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
  expect(made.code).toBe(0);
  return `cert_file_path = "${certificate}"\n key_file_path = "${key}"`;
}

describe("a server", () => {
  let server: TestServer;
  let directory: string;
  let ca: WebCa;
  let port: number;
  let first: string;

  beforeAll(async () => {
    directory = stage.room("files");
    ca = await WebCa.make(stage.room("web"));
    await ca.issue("first");
    await ca.issue("second");
    ca.install("first");
    const offered = await offer(TRUST_DOMAIN);
    port = offered.port;
    first = await root("first", directory);
    // Long enough never to come in this test.
    const profile = ca.profile.replace("200ms", "1h");
    server = await TestServer.start(stage, "ours", {
      settings: `federation {\n ${endpointBlock(offered, profile)}\n }`,
      plugins: `UpstreamAuthority "disk" {\n plugin_data {\n ${first}\n }\n }`,
    });
  }, 60_000);

  test("takes over another log level, and names by key what needs a restart", async () => {
    const said = await reload(
      server,
      [DEBUG, INFO],
      [`bind_port = ${server.port}`, "bind_port = 1"],
    );
    expect(said).toContain(`level=warning ${RESTART} keys=bind_port`);
    expect(await server.json("logger", "get")).toEqual({
      current_level: "INFO",
      launch_level: "INFO",
    });
    const back = await reload(
      server,
      [INFO, DEBUG],
      ["bind_port = 1", `bind_port = ${server.port}`],
    );
    expect(back).not.toContain(RESTART);
    expect(back).toContain('took effect" keys=log_level');
    expect((await server.cli("healthcheck")).code).toBe(0);
  });

  test("goes on with what it had when the file is broken, and says where", async () => {
    const broken = await reload(server, [DEBUG, 'log_level = "INFO"\nca_ttl = "soon"']);
    expect(broken).toContain('level=error msg="Server not reloaded: it goes on as it was"');
    expect(broken).toMatch(/server\.conf:\d+: could not parse default CA ttl/);
    expect(await server.json("logger", "get")).toMatchObject({ current_level: "DEBUG" });
    await reload(server, ['log_level = "INFO"\nca_ttl = "soon"', DEBUG]);
  });

  test("goes on with what it had when its log file cannot be opened, and opens it anew otherwise", async () => {
    const file = join(directory, "log");
    const missing = `${INFO}\nlog_file = "${directory}/none/log"`;
    expect(await reload(server, [DEBUG, missing])).toContain("no such file or directory");
    expect(await server.json("logger", "get")).toMatchObject({ current_level: "DEBUG" });
    writeFileSync(
      server.configuration,
      readFileSync(server.configuration, "utf8").replace(missing, `${DEBUG}\nlog_file = "${file}"`),
    );
    server.daemon.signal("SIGHUP");
    const inFile = (): string => readFileSync(file, "utf8");
    const logged = (): Promise<boolean> =>
      eventually(
        "a line in the file",
        async () => inFile().includes("Server reloaded") || undefined,
      );
    await logged();
    renameSync(file, `${file}.1`);
    server.daemon.signal("SIGHUP");
    await logged();
    writeFileSync(
      server.configuration,
      readFileSync(server.configuration, "utf8").replace(`log_file = "${file}"`, ""),
    );
    const from = server.daemon.lines.length;
    server.daemon.signal("SIGHUP");
    await server.daemon.line((line) => line.includes("Server reloaded"), undefined, from);
  });

  test("reads the authority above it again, also from other files", async () => {
    const prepared = 'msg="X509 CA prepared"';
    expect(await reload(server)).not.toContain(prepared);
    const replaced = await reload(server, [first, await root("second", directory)]);
    expect(replaced).toContain('took effect" keys=UpstreamAuthority');
    expect(replaced).toContain(prepared);
    const { prepared: next } = await server.json("localauthority", "x509", "show");
    expect(next).toBeDefined();
    // The same files, with another authority in them.
    await root("second", directory);
    expect(await reload(server)).toContain(prepared);
  });

  test("serves the certificate that lies in the files of its bundle endpoint by now", async () => {
    const shown = async (): Promise<string> => {
      const { stdout } = await run(["openssl", "s_client", "-connect", `127.0.0.1:${port}`]);
      return /subject=CN ?= ?(\w+)/.exec(stdout)?.[1] ?? "";
    };
    ca.install("second");
    expect(await shown()).toBe("first");
    await reload(server);
    expect(await shown()).toBe("second");
  });
});

describe("an agent", () => {
  let server: TestServer;
  let agent: TestAgent;
  let adminSocket: string;
  let entry: string;

  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
    adminSocket = join(stage.room("admin"), "admin.sock");
    agent = await TestAgent.start(stage, "ours", server, {
      settings: `admin_socket_path = "${adminSocket}"`,
    });
    entry = `spiffe://${TRUST_DOMAIN}/delegate`;
    await server.entry(entry, agent.id, [`unix:uid:${process.getuid?.() ?? 0}`]);
  }, 60_000);

  test("takes over its log level and its delegates, and names by key what needs a restart", async () => {
    const { address, credentials, options } = unixChannel(adminSocket);
    const client = new DelegatedIdentityClient(address, credentials, options);
    const request = {
      audience: ["a"],
      selectors: [{ type: "unix", value: `uid:${process.getuid?.() ?? 0}` }],
      pid: 0,
    };
    const ask = async (): Promise<string> => {
      try {
        const { svids } = await callUnary(client, "fetchJwtsviDs", request, { timeoutMs: 10_000 });
        return String(svids.length);
      } catch (error) {
        return String(error);
      }
    };
    expect(
      await eventually("the entry is there", async () => {
        const answer = await ask();
        return answer.includes("delegate") ? answer : undefined;
      }),
    ).toContain("caller not configured as an authorized delegate");
    const delegates = `${INFO}\nauthorized_delegates = ["${entry}"]`;
    const said = await reload(agent, [DEBUG, `${delegates}\njwt_svid_cache_max_size = 7`]);
    expect(said).toContain(`level=warning ${RESTART} keys=jwt_svid_cache_max_size`);
    expect(await ask()).toBe("1");
    await reload(agent, [`${delegates}\njwt_svid_cache_max_size = 7`, DEBUG]);
    expect(await ask()).toContain("caller not configured as an authorized delegate");
    client.close();
  });

  test("configures its plugins anew", async () => {
    const plain = 'WorkloadAttestor "unix" {\n    plugin_data {';
    const said = await reload(agent, [plain, `${plain}\n discover_workload_path = true`]);
    expect(said).toContain('took effect" keys=WorkloadAttestor');
    expect(said).toMatch(/msg="Plugin reconfigured".*plugin_name=unix/);
    const path = `${TRUST_DOMAIN}/by-path`;
    await server.entry(`spiffe://${path}`, agent.id, ["unix:uid:1", `unix:path:${CLIENT}`]);
    await eventually("the workload is known by its path", async () => {
      const fetched = await agent.cli(["api", "fetch", "x509"], { uid: 1 });
      return fetched.stdout.includes(path) || undefined;
    });
  });

  test("goes on with what it had when the file is broken, and says where", async () => {
    const broken = await reload(agent, [DEBUG, `${INFO}\nnonsense = 1`]);
    expect(broken).toContain('level=error msg="Agent not reloaded: it goes on as it was"');
    expect(broken).toMatch(/agent\.conf:\d+: unknown configuration detected: key \\"nonsense\\"/);
    const level = await run([...[CLIENT, "logger", "get"], ...["-socketPath", adminSocket]]);
    expect(level.stdout).toContain("Logger Level : debug");
  });
});
