/**
 * A server and two nodes, each a machine of its own with a real systemd: installed by docs/INSTALL.md, rebooted, upgraded, the server
 * lost and restored by docs/BACKUP.md, purged. Meanwhile a service on one node calls one on the other over mTLS, ten times a second.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Fleet } from "../support/fleet.ts";
import type { Machine } from "../support/machine.ts";
import { node, pem, pkcs8, root } from "../support/nodes.ts";
import { buildLaterPackages, buildPackages } from "../support/packages.ts";
import { eventually } from "../support/process.ts";
import { GO_CLIENT } from "../support/spire.ts";

const ROOT = resolve(import.meta.dir, "../..");
const TIMEOUT_MS = 60_000;
const SERVER_CONF = "/etc/spire/server/server.conf";
const AGENT_CONF = "/etc/spire/agent/agent.conf";
const AGENT_SOCKET = "/run/spire/agent/public/api.sock";
const DB = "spiffe://fleet.example/db";
const WEB = "spiffe://fleet.example/web";

const X509POP_OF_SERVER = `  NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "/etc/spire/server/nodes-ca.pem"
      agent_path_template = "/host/{{ .Subject.CommonName }}"
    }
  }
`;
const X509POP_OF_NODE = `  NodeAttestor "x509pop" {
    plugin_data {
      private_key_path = "credential:node-key"
      certificate_path = "/etc/spire/agent/node.pem"
    }
  }
`;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-fleet-"));
const packages = join(directory, "packages");
let fleet: Fleet;
let server: Machine;
let first: Machine;
let second: Machine;

beforeAll(async () => {
  mkdirSync(join(packages, "later"), { recursive: true, mode: 0o755 });
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", packages]);
  await buildLaterPackages(packages, join(packages, "later"), "99.0.0");
  copyFileSync(GO_CLIENT, join(packages, "go-client"));
  fleet = await Fleet.start(directory, packages);
  [server, first, second] = await Promise.all([
    fleet.boot("spire-1"),
    fleet.boot("node-1"),
    fleet.boot("node-2"),
  ]);
}, 180_000);

afterAll(async () => {
  try {
    await fleet?.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, TIMEOUT_MS);

/** What an operator types into a shell there. @returns what it printed */
async function at(machine: Machine, script: string): Promise<string> {
  try {
    return await machine.must("sh", "-euc", script);
  } catch (error) {
    const told = await machine.run("journalctl", "--boot", "--unit=spire-*", "--lines=30");
    throw new Error(told.stdout, { cause: error });
  }
}

const journal = (machine: Machine, unit: string): Promise<string> =>
  machine.must("journalctl", "--boot", "--unit", unit, "--no-pager", "--output=cat");

/** How often a node has attested since the server's machine was booted. */
async function attestations(): Promise<number> {
  const lines = (await journal(server, "spire-server")).split("\n");
  return lines.filter((line) => line.includes("Agent attestation request completed")).length;
}

/** A command of the agent, given by the user of a service. */
const as = (user: string, command: string): string =>
  `systemd-run --wait --pipe --quiet --collect --property=User=${user} spire-agent ${command}`;

/** The X509-SVID that the user of a service is given now. */
const svidOf = (machine: Machine, user: string): Promise<string> =>
  at(machine, as(user, `api fetch x509 -socketPath ${AGENT_SOCKET} -output json`));

/** What the service `web` has met with since it was started. */
async function ledger(): Promise<{ handshakes: number; failed: string[] }> {
  const reports = (await journal(second, "web")).split("\n").filter((line) => line.startsWith("{"));
  const { handshakes, kept } = JSON.parse(reports.at(-1) ?? "{}");
  // What its agent's end cuts off is asked for again; nobody may be refused, neither by an agent nor by the other service.
  return { handshakes, failed: kept.filter((one: string) => one.includes(" connect: ")) };
}

/** The services go on reaching each other, and did so all the time. */
async function unharmed(): Promise<void> {
  const before = await ledger();
  await eventually("more handshakes", async () => {
    const { handshakes } = await ledger();
    return handshakes >= before.handshakes + 10 || undefined;
  });
  expect((await ledger()).failed).toEqual([]);
}

test(
  "the first server",
  async () => {
    await at(
      server,
      `dpkg -i /packages/spire-edge-server_*.deb
      sed -i 's/#*trust_domain = .*/trust_domain = "fleet.example"/' ${SERVER_CONF}
      systemctl enable --now spire-server`,
    );
    expect(await at(server, "spire-server healthcheck")).toContain("Server is healthy.");
  },
  TIMEOUT_MS,
);

test(
  "the first node joins by one word",
  async () => {
    const word = await at(
      server,
      "spire-server token generate -spiffeID spiffe://fleet.example/node-1 -join",
    );
    await at(
      first,
      `dpkg -i /packages/spire-edge-agent_*.deb
      (umask 077; echo '${word.trim()}' > /etc/spire/agent/join)
      systemctl enable --now spire-agent.socket spire-agent`,
    );
    expect(await at(first, `spire-agent healthcheck -socketPath ${AGENT_SOCKET}`)).toContain(
      "Agent is healthy.",
    );
  },
  TIMEOUT_MS,
);

test(
  "another node joins by its certificate",
  async () => {
    const { privateKey, chain } = await node({ name: "node-2" });
    await server.write("/root/nodes-ca.pem", pem([root.certificate]));
    await server.write("/root/attestor", X509POP_OF_SERVER);
    await at(
      server,
      `install -m 640 -g spire-server /root/nodes-ca.pem /etc/spire/server/
      sed -i '/^plugins {/r /root/attestor' ${SERVER_CONF}
      systemctl restart spire-server`,
    );
    await second.write("/root/bundle.pem", await at(server, "spire-server bundle show"));
    await second.write("/root/node.key", pkcs8(privateKey));
    await second.write("/root/node.pem", pem(chain));
    await second.write("/root/attestor", X509POP_OF_NODE);
    await at(
      second,
      `dpkg -i /packages/spire-edge-agent_*.deb
      install -m 640 -g spire-agent /root/bundle.pem /root/node.pem /etc/spire/agent/
      install -D -m 600 /root/node.key /etc/credstore/spire-agent.node-key
      sed -i -e 's/#trust_domain = .*/trust_domain = "fleet.example"/' \\
        -e 's/#server_address = .*/server_address = "spire-1"/' -e 's/#server_port/server_port/' \\
        -e 's/#trust_bundle_path/trust_bundle_path/' \\
        -e '/NodeAttestor/,/^  }/d' -e '/^plugins {/r /root/attestor' ${AGENT_CONF}
      systemctl enable --now spire-agent.socket spire-agent`,
    );
    expect(await attestations()).toBe(2);
  },
  TIMEOUT_MS,
);

/** A service of its own user, of a program that knows nothing but the Workload API. */
async function addService(machine: Machine, name: string, command: string): Promise<void> {
  await machine.must("useradd", "--system", name);
  await machine.write(
    `/etc/systemd/system/${name}.service`,
    `[Unit]
After=spire-agent.service
[Service]
User=${name}
ExecStart=/packages/go-client ${command}
Restart=always
RestartSec=100ms
[Install]
WantedBy=multi-user.target
`,
  );
  await eventually(`${name} has an identity`, () => svidOf(machine, name));
  await machine.must("systemctl", "enable", "--now", "--quiet", name);
}

test(
  "services of both nodes reach each other over mTLS",
  async () => {
    await at(
      server,
      `spire-server entry create -parentID spiffe://fleet.example/node-1 -spiffeID ${DB} -selector unix:user:db
      spire-server entry create -parentID spiffe://fleet.example/spire/agent/host/node-2 -spiffeID ${WEB} -selector unix:user:web`,
    );
    await addService(first, "db", `endure-serve ${AGENT_SOCKET} 192.0.2.11:9000 ${WEB}`);
    await addService(second, "web", `endure-call ${AGENT_SOCKET} node-1:9000 ${DB}`);
    await eventually("a handshake", async () => (await ledger()).handshakes > 0 || undefined);
  },
  TIMEOUT_MS,
);

test(
  "after a reboot and after a power cut everything comes back by itself",
  async () => {
    await first.reboot("in order");
    await Promise.all([server, first, second].map((machine) => machine.reboot("power cut")));
    await eventually("a handshake", async () => (await ledger()).handshakes > 0 || undefined);
    expect(await attestations()).toBe(0);
    // A new ledger, with no failure from the time when not all machines were there.
    await second.must("systemctl", "restart", "web");
    await eventually("a handshake", async () => (await ledger()).handshakes > 0 || undefined);
    await unharmed();
  },
  TIMEOUT_MS,
);

test(
  "an upgrade in place keeps what was changed in the configuration and disturbs no service",
  async () => {
    const before = await Promise.all([svidOf(first, "db"), svidOf(second, "web")]);
    for (const [machine, part] of [
      [server, "server"],
      [first, "agent"],
      [second, "agent"],
    ] as const) {
      const conf = `cat /etc/spire/${part}/${part}.conf`;
      const running = `systemctl show --value --property=MainPID spire-${part}`;
      const [kept, pid] = [await at(machine, conf), await at(machine, running)];
      await at(machine, `dpkg -i --force-confold /packages/later/spire-edge-${part}_*.deb`);
      // What nobody changed is replaced.
      expect(await at(machine, conf)).toBe(
        machine === first ? `# As of version 99.0.0.\n${kept}` : kept,
      );
      expect(await at(machine, running)).not.toBe(pid);
      expect((await machine.show(`spire-${part}`))["ActiveState"]).toBe("active");
    }
    expect(await Promise.all([svidOf(first, "db"), svidOf(second, "web")])).toEqual(before);
    expect(await attestations()).toBe(0);
    await unharmed();
  },
  TIMEOUT_MS,
);

test(
  "a server that hangs is found by the watchdog, and no service notices",
  async () => {
    await server.write(
      "/run/systemd/system/spire-server.service.d/faster.conf",
      "[Service]\nWatchdogSec=1s\n",
    );
    await at(server, "systemctl daemon-reload && systemctl restart spire-server");
    await at(server, "kill -STOP $(systemctl show --value --property=MainPID spire-server)");
    await eventually("another process", async () => {
      const { NRestarts, ActiveState } = await server.show("spire-server");
      return (NRestarts === "1" && ActiveState === "active") || undefined;
    });
    expect(await journal(server, "spire-server")).toContain("Watchdog timeout");
    await unharmed();
  },
  TIMEOUT_MS,
);

test(
  "a server that is lost is restored on an empty machine, and the agents go on",
  async () => {
    await at(
      server,
      `mkdir /var/backups/spire
      spire-server backup create -config ${SERVER_CONF} -output /var/backups/spire/server-1.backup`,
    );
    server.copyOut("/var/backups/spire/server-1.backup", join(packages, "server-1.backup"));
    const serials = await Promise.all([svidOf(first, "db"), svidOf(second, "web")]);
    await fleet.discard(server);
    server = await fleet.boot("spire-1");
    await server.write("/etc/spire/server/nodes-ca.pem", pem([root.certificate]));
    await at(
      server,
      `dpkg -i /packages/spire-edge-server_*.deb
      spire-server backup restore -force -dataDir /var/lib/spire/server -configOutput /root/server.conf /packages/server-1.backup
      cp /root/server.conf ${SERVER_CONF}
      systemctl enable --now spire-server`,
    );
    // What only the server can give: a token that was not asked for before.
    for (const [machine, user] of [
      [first, "db"],
      [second, "web"],
    ] as const) {
      const fetch = `api fetch jwt -audience restored -socketPath ${AGENT_SOCKET}`;
      await eventually("a token", () => at(machine, as(user, fetch)));
    }
    expect(await Promise.all([svidOf(first, "db"), svidOf(second, "web")])).toEqual(serials);
    expect(await attestations()).toBe(0);
    await unharmed();
  },
  TIMEOUT_MS,
);

test(
  "purging leaves nothing but the user",
  async () => {
    for (const [machine, part] of [
      [server, "server"],
      [first, "agent"],
      [second, "agent"],
    ] as const) {
      await at(machine, `dpkg -P spire-edge-${part}`);
      const traces = `find /etc /usr /var /run -xdev -name '*spire*' ! -path '/etc/credstore/*' -o -xdev -user spire-${part}`;
      expect(await at(machine, traces)).toBe("");
      expect(await at(machine, "systemctl list-unit-files --no-legend 'spire*' || true")).toBe("");
      expect(await at(machine, `getent passwd spire-${part}`)).toContain(`/var/lib/spire/${part}`);
    }
  },
  TIMEOUT_MS,
);
