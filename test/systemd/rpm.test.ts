/** The packages for rpm under a real systemd: what they carry, installed, upgraded, removed. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Machine } from "../support/machine.ts";
import { buildPackages } from "../support/packages.ts";

const ROOT = resolve(import.meta.dir, "../..");
const SOCKET = "/run/spire/server/api.sock";
const TIMEOUT_MS = 60_000;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-rpm-"));
let machine: Machine;

beforeAll(async () => {
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", directory]);
  machine = await Machine.boot(directory, directory);
}, 180_000);

afterAll(async () => {
  await machine?.close();
  rmSync(directory, { recursive: true, force: true });
}, TIMEOUT_MS);

/** This machine has no packages that rpm knows of, so it cannot know what they need. */
const rpm = (...words: string[]): Promise<string> =>
  machine.must("sh", "-c", `rpm --nodeps ${words.join(" ")}`);

const mainPid = (unit: string): Promise<string> =>
  machine.must("systemctl", "show", "-P", "MainPID", unit);

test.each(["server", "agent"])(
  "the package of the %s has the same files as that for dpkg",
  async (part) => {
    const ofRpm = await machine.must(
      ...["sh", "-c", `rpm -qpl /packages/spire-edge-${part}-*.rpm`],
    );
    const ofDpkg = await machine.must(
      "sh",
      "-c",
      `dpkg-deb --fsys-tarfile /packages/spire-edge-${part}_*.deb | tar -t | sed 's/^\\.//'`,
    );
    // What has something below it is a directory.
    const files = (list: string): string[] => {
      const paths = list.split("\n").filter((path) => path !== "" && !path.endsWith("/"));
      const isDirectory = (path: string): boolean =>
        paths.some((other) => other.startsWith(`${path}/`));
      return paths.filter((path) => !isDirectory(path)).sort();
    };
    expect(files(ofRpm)).toEqual(files(ofDpkg));
  },
);

test(
  "installing brings users and configuration that only root may change, and starts nothing",
  async () => {
    await rpm("-i", "/packages/*.rpm");
    const files = ["/etc/spire/server/server.conf", "/etc/spire/agent/agent.conf"];
    expect(await machine.must("stat", "--format=%a %U:%G", ...files)).toBe(
      "640 root:spire-server\n640 root:spire-agent\n",
    );
    for (const unit of ["spire-server", "spire-agent"]) {
      expect((await machine.run("systemctl", "is-enabled", unit)).stdout).toBe("disabled\n");
      expect((await machine.show(unit))["ActiveState"]).toBe("inactive");
    }
    // Owners and groups are set after unpacking; all else is as it was packed.
    const verified = await machine.run(
      "rpm",
      "--verify",
      "--nodeps",
      "--nouser",
      "--nogroup",
      "spire-edge-server",
    );
    expect(verified.stdout).toBe("");
  },
  TIMEOUT_MS,
);

test(
  "an upgrade keeps what the operator wrote, and takes the place of what runs",
  async () => {
    await machine.nameTrustDomain();
    await machine.must("systemctl", "enable", "--now", "spire-server");
    const pid = await mainPid("spire-server");
    await machine.must("sh", "-c", "echo '# mine' >>/etc/spire/server/server.conf");
    await rpm("-U", "--replacepkgs", "/packages/spire-edge-server-*.rpm");
    expect(await machine.must("tail", "-1", "/etc/spire/server/server.conf")).toBe("# mine\n");
    expect(await mainPid("spire-server")).not.toBe(pid);
    expect(await machine.must("spire-server", "healthcheck", "-socketPath", SOCKET)).toContain(
      "Server is healthy.",
    );
    // What did not run is not started.
    await rpm("-U", "--replacepkgs", "/packages/spire-edge-agent-*.rpm");
    expect((await machine.show("spire-agent"))["ActiveState"]).toBe("inactive");
  },
  TIMEOUT_MS,
);

test(
  "removal stops the daemon; keys, data and what the operator wrote stay",
  async () => {
    await rpm("-e", "spire-edge-server", "spire-edge-agent");
    expect((await machine.run("pgrep", "spire-")).stdout).toBe("");
    expect((await machine.show("spire-server"))["LoadState"]).toBe("not-found");
    await machine.must("test", "-e", "/var/lib/spire/server/keys.json");
    await machine.must("test", "-e", "/etc/spire/server/server.conf.rpmsave");
    await machine.must("test", "!", "-e", "/usr/bin/spire-server");
  },
  TIMEOUT_MS,
);
