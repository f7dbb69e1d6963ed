/** Workloads known by their unit: by our agent and by the reference's, side by side on one machine. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { AGENT_SOCKET, MachineNode } from "../support/machine-node.ts";
import { eventually } from "../support/process.ts";

const REFERENCE_NODE = "spiffe://example.org/reference-node";
const REFERENCE_SOCKET = "/run/reference/public/api.sock";
const TIMEOUT_MS = 60_000;

let node: MachineNode;

beforeAll(async () => {
  node = await MachineNode.boot({
    plugins: 'WorkloadAttestor "systemd" {}',
    withReference: true,
  });
  await node.machine.write("/etc/reference.conf", await referenceConfiguration());
  const run = ["/packages/reference/spire-agent", "run", "-config", "/etc/reference.conf"];
  await node.machine.must("systemd-run", "--unit=reference", ...run);
}, 120_000);

afterAll(() => node?.close(), TIMEOUT_MS);

async function referenceConfiguration(): Promise<string> {
  return `agent {
  trust_domain = "example.org"
  server_address = "localhost"
  server_port = 8081
  insecure_bootstrap = true
  join_token = "${await node.token(REFERENCE_NODE)}"
  socket_path = "${REFERENCE_SOCKET}"
  data_dir = "/var/lib/reference"
}
plugins {
  KeyManager "memory" {}
  NodeAttestor "join_token" {}
  WorkloadAttestor "systemd" {}
}`;
}

/** The SPIFFE ID that a unit gets by asking that socket, or why it gets none. */
async function identityOf(unit: string, socket: string): Promise<string> {
  await node.machine.write(
    `/etc/systemd/system/${unit}.d/socket.conf`,
    `[Service]\nEnvironment=SOCKET=${socket}\n`,
  );
  await node.machine.must("systemctl", "daemon-reload");
  await node.machine.run("systemctl", "start", unit);
  return (await node.machine.must("cat", "/run/probe.out")).trim();
}

const PROBE = `[Service]
Type=oneshot
User=nobody
ExecStart=/bin/sh -c '/packages/spire-agent api fetch x509 -socketPath $SOCKET | grep "SPIFFE ID"'
StandardOutput=truncate:/run/probe.out
StandardError=inherit
`;

test.each([
  ["ours", AGENT_SOCKET, "spiffe://example.org/node"],
  ["the reference", REFERENCE_SOCKET, REFERENCE_NODE],
])(
  "a unit is known to %s by its own name and its file, also when it is started by an alias",
  async (_whose, socket, parent) => {
    for (const unit of ["probe", "other"]) {
      await node.machine.write(`/etc/systemd/system/${unit}.service`, PROBE);
    }
    await node.machine.must("ln", "-sf", "probe.service", "/etc/systemd/system/alias.service");
    const id = `${parent}/probe`;
    const file = "fragment_path:/etc/systemd/system/probe.service";
    await node.register(id, ["systemd:id:probe.service", `systemd:${file}`], "-parentID", parent);
    await eventually("the entry is there", async () => {
      const found = await identityOf("alias.service", socket);
      return found.includes(id) || undefined;
    });
    expect(await identityOf("other.service", socket)).toContain("no identity issued");
    if (socket !== AGENT_SOCKET) return;
    const matches = ["UNIT=probe.service", `SPIFFE_ID=${id}`, "TYPE=audit"];
    const options = ["--unit=spire-agent", "--no-pager", "--output=cat"];
    expect(await node.machine.must("journalctl", ...options, ...matches)).toMatch(
      /msg="X509-SVID handed out" .*serial_number=\d+/,
    );
  },
  TIMEOUT_MS,
);

const SOURCES = resolve(import.meta.dir, "..");

/** Puts a program of the tests where the machine's users can read it. @returns its path there */
async function placed(file: string): Promise<string> {
  for (const one of [file, "support/workload_call.py"]) {
    await node.machine.write(`/srv/${one}`, readFileSync(join(SOURCES, one), "utf8"));
  }
  return `/srv/${file}`;
}

test(
  "three thousand calls at once, of a unit's processes of several users, are all answered",
  async () => {
    await node.register("spiffe://example.org/crowd", ["systemd:id:crowd.service"]);
    const program = await placed("attacks/ask_all.py");
    const served = async (...words: string[]): Promise<string> => {
      const command = ["/usr/bin/python3", "-B", program, AGENT_SOCKET, ...words];
      const run = ["systemd-run", "--unit=crowd", "--wait", "--pipe", "--quiet", "--collect"];
      return (await node.machine.must(...run, ...command)).trim();
    };
    await eventually(
      "the entry is there",
      async () => (await served("1", "1", "1")) === "1" || undefined,
    );
    for (let again = 0; again < 3; again++) {
      expect(await served("4", "250", "1", "2", "65534")).toBe("3000");
    }
  },
  TIMEOUT_MS,
);

const PYTHON = "/run/probes/python";

test.each([
  ["as it is", ""],
  [
    "with file systems of its own",
    "ProtectSystem=strict\nPrivateTmp=yes\nPrivateDevices=yes\nProtectHome=yes",
  ],
  ["of a user that is made for it", "DynamicUser=yes"],
  ["in a user namespace that systemd made", "PrivateUsers=yes"],
])(
  "a service %s is known by its path, also after its program was replaced",
  async (_how, directives) => {
    const ask = await placed("attacks/ask.py");
    const id = "spiffe://example.org/by-path";
    await node.machine.must("sh", "-c", `mkdir -p /run/probes && cp /usr/bin/python3 ${PYTHON}`);
    if (!(await node.server("entry", "show")).includes(id)) {
      await node.register(id, [`unix:path:${PYTHON}`]);
    }
    const replace = "while [ ! -e /run/probes/replaced ]; do sleep 0.05; done";
    const unit = (command: string): string => `[Service]
Type=oneshot
${directives}
Environment=PYTHONHOME=/usr
ExecStart=${PYTHON} -B ${ask} ${AGENT_SOCKET} ${command}
StandardOutput=truncate:/run/path.out
StandardError=inherit
`;
    const answer = async (command: string): Promise<string> => {
      await node.machine.write("/etc/systemd/system/by-path.service", unit(command));
      await node.machine.must("systemctl", "daemon-reload");
      await node.machine.run("systemctl", "start", "by-path");
      return (await node.machine.must("cat", "/run/path.out")).trim();
    };
    await eventually("its SVID", async () => (await answer("")) === id || undefined);
    await node.machine.must("rm", "-f", "/run/probes/replaced");
    const waiting = answer(`"${replace}"`);
    await eventually("the service runs", async () => {
      const state = await node.machine.run("pgrep", "-f", "-x", `${PYTHON} .*`);
      return state.code === 0 || undefined;
    });
    await node.machine.must("sh", "-c", `cp ${PYTHON} ${PYTHON}.new && mv ${PYTHON}.new ${PYTHON}`);
    await node.machine.must("touch", "/run/probes/replaced");
    expect(await waiting).toBe(id);
  },
  TIMEOUT_MS,
);

test(
  "an agent goes on when systemd executes itself anew, and when the bus is started anew",
  async () => {
    await node.machine.must("systemctl", "daemon-reexec");
    expect(await identityOf("probe.service", AGENT_SOCKET)).toContain("/probe");
    await node.machine.must("systemctl", "restart", "dbus.service");
    expect(await identityOf("probe.service", AGENT_SOCKET)).toContain("/probe");
  },
  TIMEOUT_MS,
);

test(
  "an agent of root needs no bus",
  async () => {
    const asRoot = "[Service]\nUser=root\nGroup=root\n";
    await node.machine.write("/etc/systemd/system/spire-agent.service.d/root.conf", asRoot);
    await node.machine.must(
      "systemctl",
      "mask",
      "--runtime",
      "--now",
      "dbus.socket",
      "dbus.service",
    );
    await node.machine.must("rm", "-f", "/run/dbus/system_bus_socket");
    await node.machine.must("systemctl", "daemon-reload");
    await node.machine.must("systemctl", "restart", "spire-agent");
    expect(await identityOf("probe.service", AGENT_SOCKET)).toContain("/probe");
  },
  TIMEOUT_MS,
);
