/** A fleet rolled out as docs/FLEET.md has it: with Ansible over SSH, with cloud-init at a first boot, upgraded, and taken out again. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { commandsOf } from "../support/document.ts";
import { Fleet } from "../support/fleet.ts";
import type { Machine } from "../support/machine.ts";
import { buildLaterPackages, buildPackages } from "../support/packages.ts";
import { eventually, run } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const DOCS = join(ROOT, "docs/fleet");
const PLAYBOOK = join(ROOT, "build/peers/ansible/bin/ansible-playbook");
const TIMEOUT_MS = 180_000;
const SHOP = "spiffe://example.org/shop";

const directory = mkdtempSync(join(tmpdir(), "spire-edge-roll-out-"));
const packages = join(directory, "packages");
let fleet: Fleet;
let server: Machine;
let first: Machine;
let second: Machine;

beforeAll(async () => {
  const tools = await run([join(import.meta.dir, "install-fleet-tools")], { timeoutMs: 170_000 });
  if (tools.code !== 0) throw new Error(tools.stdout + tools.stderr);
  mkdirSync(join(packages, "later"), { recursive: true, mode: 0o755 });
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", packages]);
  await buildLaterPackages(packages, join(packages, "later"), "99.0.0");
  cpSync(DOCS, join(packages, "fleet"), { recursive: true });
  fleet = await Fleet.start(directory, packages);
  [server, first, second] = await Promise.all([
    fleet.boot("spire-1"),
    fleet.boot("node-1"),
    fleet.boot("node-2"),
  ]);
  await trustByKey();
}, TIMEOUT_MS);

afterAll(async () => {
  await fleet?.close();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

/** The server's machine may log in to all, itself included. */
async function trustByKey(): Promise<void> {
  await server.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519");
  const key = await server.must("cat", "/root/.ssh/id_ed25519.pub");
  for (const machine of [server, first, second]) {
    await machine.write("/root/.ssh/authorized_keys", key);
    await machine.must("systemctl", "enable", "--now", "--quiet", "ssh");
  }
}

const at = (machine: Machine, script: string): Promise<string> =>
  machine.must("sh", "-euc", `${script}`);

/** Runs a playbook from the server's machine. @returns what it printed, the recap last */
function play(playbook: string, ...words: string[]): Promise<string> {
  // No connection outlives the playbook: its end is what is waited for.
  const options = "-o StrictHostKeyChecking=accept-new -o ControlMaster=no";
  return at(
    server,
    `cd /packages/fleet
    export ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_SSH_ARGS='${options}' ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3
    ${PLAYBOOK} -i inventory.ini ${playbook} ${words.join(" ")}`,
  );
}

async function rollOut(from: string, ...words: string[]): Promise<string> {
  const [architecture] = [process.arch === "arm64" ? "arm64" : "amd64"];
  const name = (
    await server.must("sh", "-c", `ls ${from}/spire-edge-agent_*_${architecture}.deb`)
  ).trim();
  return play("site.yml", "-e", `spire_agent_package=${name}`, ...words);
}

const agents = async (): Promise<number> => {
  const shown = await at(server, "spire-server agent count -output json");
  return JSON.parse(shown).count;
};

/** What the user `shop` is given on a node. */
const shopOn = (machine: Machine): Promise<string> =>
  eventually("the shop's SVID", () =>
    at(
      machine,
      `id shop >/dev/null 2>&1 || useradd --system shop
      setpriv --reuid shop --regid shop --clear-groups spire-agent api fetch x509`,
    ),
  );

test(
  "Ansible installs and joins a node by its class, and has nothing to do the second time",
  async () => {
    await at(
      server,
      `dpkg -i /packages/spire-edge-server_*.deb
      sed -i 's/^\\( *\\)#*trust_domain = .*/\\1trust_domain = "example.org"/' /etc/spire/server/server.conf
      systemctl enable --now spire-server
      ${commandsOf("FLEET.md", "Before the first node")[2]}`,
    );
    const printed = await rollOut("/packages", "--limit", "node-1");
    expect(printed).toMatch(/node-1 .*unreachable=0 .*failed=0/);
    // The word is on the node, and nowhere on the screen.
    const word = (await first.must("cat", "/etc/spire/agent/join")).trim();
    expect(word).toStartWith("spirejoin1_");
    expect(printed).not.toContain(word.slice(-20));
    expect(await shopOn(first)).toContain(SHOP);
    expect(await rollOut("/packages", "--limit", "node-1")).toMatch(/node-1 .*changed=0 /);
    expect(await agents()).toBe(1);
  },
  TIMEOUT_MS,
);

test(
  "cloud-init joins a node at its first boot",
  async () => {
    const [word = "", seed = ""] = (commandsOf("FLEET.md", "With cloud-init")[0] ?? "").split("\n");
    const template = seed.replace(/\S*\/cloud-init.yaml/, "/packages/fleet/cloud-init.yaml");
    const userData = await at(server, `cd /tmp\n${word}\n${template}\ncat user-data`);
    const nocloud = "/var/lib/cloud/seed/nocloud";
    await second.write(`${nocloud}/user-data`, userData);
    await second.write(`${nocloud}/meta-data`, "instance-id: node-2\nlocal-hostname: node-2\n");
    // The network is there already, and so are the keys for SSH.
    await second.write(
      "/etc/cloud/cloud.cfg.d/99-test.cfg",
      "network: {config: disabled}\nssh_deletekeys: false\nlocale: C.UTF-8\ndatasource_list: [NoCloud]\nmanage_etc_hosts: false\n",
    );
    await at(
      second,
      `cp /packages/spire-edge-agent_*.deb /opt/spire-edge-agent.deb
      rm /etc/cloud/cloud-init.disabled
      systemctl enable --quiet cloud-init-local cloud-init cloud-config cloud-final`,
    );
    await second.reboot("in order");
    await eventually(
      "cloud-init is done",
      async () => {
        const { stdout } = await second.run("cloud-init", "status", "--long");
        if (stdout.includes("error"))
          throw new Error(await second.must("cat", "/var/log/cloud-init-output.log"));
        return stdout.includes("done") || undefined;
      },
      120_000,
    );
    expect(await shopOn(second)).toContain(SHOP);
    expect(await agents()).toBe(2);
  },
  TIMEOUT_MS,
);

test(
  "the same playbook upgrades the fleet, and no node joins anew",
  async () => {
    const ids = await at(server, "spire-server agent list");
    const printed = await rollOut("/packages/later");
    expect(printed).toMatch(/node-1 .*failed=0/);
    expect(printed).toMatch(/node-2 .*failed=0/);
    for (const machine of [first, second]) {
      expect(await machine.must("dpkg-query", "--show", "spire-edge-agent")).toBe(
        "spire-edge-agent\t99.0.0\n",
      );
      expect(await shopOn(machine)).toContain(SHOP);
    }
    const idsOf = (text: string): string[] => text.match(/join_token\/\S+/g)?.sort() ?? [];
    expect(idsOf(await at(server, "spire-server agent list"))).toEqual(idsOf(ids));
  },
  TIMEOUT_MS,
);

test(
  "a node whose identity is over joins anew by the same playbook, and its entries stay",
  async () => {
    const [id = ""] =
      (
        await first
          .must("spire-agent", "doctor", "-config", "/etc/spire/agent/agent.conf")
          .catch(({ message }) => String(message))
      ).match(/spiffe:\/\/\S+join_token\/[^, ]+/) ?? [];
    await at(server, `spire-server agent evict -spiffeID ${id}`);
    await eventually("the agent has given up", async () => {
      const { ActiveState } = await first.show("spire-agent");
      return ActiveState !== "active" || undefined;
    });
    await rollOut("/packages/later", "--limit", "node-1");
    expect(await shopOn(first)).toContain(SHOP);
    expect(await agents()).toBe(2);
  },
  TIMEOUT_MS,
);

test(
  "a node is taken out for good",
  async () => {
    await expect(play("decommission.yml")).rejects.toThrow("name the nodes with --limit");
    await play("decommission.yml", "--limit", "node-2");
    expect(await agents()).toBe(1);
    expect((await second.run("sh", "-c", "command -v spire-agent")).code).toBe(127);
  },
  TIMEOUT_MS,
);

test("every file of docs/fleet is spoken of in FLEET.md", () => {
  const page = readFileSync(join(ROOT, "docs/FLEET.md"), "utf8");
  for (const name of [
    "site.yml",
    "decommission.yml",
    "inventory.ini",
    "cloud-init.yaml",
    "spire_agent",
  ]) {
    expect(page).toContain(name);
  }
});
