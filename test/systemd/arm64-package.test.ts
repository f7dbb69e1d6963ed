/** The Debian packages for arm64, installed by dpkg in a Debian for arm64 and run from where they lie, all of it under an emulator. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ForeignRoot } from "../support/foreign-root.ts";
import { buildPackages } from "../support/packages.ts";
import { type Daemon, eventually } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const NODE = "spiffe://example.org/node";
const WORKLOAD = "spiffe://example.org/db";
const UID = 4400;
/** Each command is translated anew. */
const TIMEOUT_MS = 240_000;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-arm64-"));
let root: ForeignRoot;

beforeAll(async () => {
  const packages = ["--target", "linux-arm64", "--out", directory];
  await buildPackages([join(ROOT, "scripts/package"), ...packages]);
  root = await ForeignRoot.open("arm64", directory, directory);
}, 600_000);

afterAll(async () => {
  await root?.close();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

/** Starts what the installed unit starts, with its user, directories and capabilities: there is no systemd that could. */
async function start(part: "server" | "agent", ...more: string[]): Promise<Daemon> {
  const user = `spire-${part}`;
  const unit = await root.must("cat", `/usr/lib/systemd/system/${user}.service`);
  const setting = (name: string): string => new RegExp(`^${name}=(.+)$`, "m").exec(unit)?.[1] ?? "";
  for (const above of ["run", "var/lib"]) {
    const path = `/${above}/${setting("StateDirectory")}`;
    await root.must("install", "-d", "-o", user, "-g", user, path);
  }
  const capabilities = setting("AmbientCapabilities").toLowerCase().replaceAll("cap_", "+");
  const held = capabilities.replaceAll(" ", ",") || "-all";
  const as = ["setpriv", `--reuid=${setting("User")}`, `--regid=${setting("Group")}`];
  const allowed = ["--clear-groups", `--inh-caps=${held}`, `--ambient-caps=${held}`];
  const command = setting("ExecStart").split(" ");
  const log = join(directory, `${part}.log`);
  const daemon = root.daemon([...as, ...allowed, ...more, ...command], log);
  await eventually(
    `the ${part} is healthy`,
    async () => {
      if (!daemon.running) throw new Error(daemon.lines.join("\n"));
      return (await root.run([user, "healthcheck"])).code === 0 || undefined;
    },
    TIMEOUT_MS / 2,
  );
  return daemon;
}

test(
  "dpkg for arm64 installs both, with users and configuration that only root may change",
  async () => {
    expect(await root.must("dpkg", "--print-architecture")).toBe("arm64\n");
    const said = await root.must("sh", "-c", "dpkg --install /packages/*.deb 2>&1");
    expect(said).not.toMatch(/fail|warning|error/);
    for (const part of ["server", "agent"]) {
      const status = await root.must("dpkg", "--status", `spire-edge-${part}`);
      expect(status).toContain("\nStatus: install ok installed\n");
      expect((await root.run(["dpkg", "--verify", `spire-edge-${part}`])).stdout).toBe("");
      const owners = ["stat", "--format=%a %U:%G", `/etc/spire/${part}/${part}.conf`];
      expect(await root.must(...owners)).toBe(`640 root:spire-${part}\n`);
      const enabled = await root.run(["systemctl", "is-enabled", `spire-${part}`]);
      expect(enabled.stdout).toBe("disabled\n");
    }
  },
  TIMEOUT_MS,
);

test(
  "what is installed starts as its units say, and a process gets its identity",
  async () => {
    const edit = 's/^ *#trust_domain = .*/  trust_domain = "example.org"/';
    await root.must("sed", "-i", edit, "/etc/spire/server/server.conf");
    expect(await root.must("spire-server", "validate")).toContain("configuration file is valid");
    await start("server");
    const generate = ["token", "generate", "-spiffeID", NODE, "-join"];
    const word = await root.must("spire-server", ...generate, "-serverAddress", "127.0.0.1");
    const entry = ["entry", "create", "-parentID", NODE, "-spiffeID", WORKLOAD];
    await root.must("spire-server", ...entry, "-selector", `unix:uid:${UID}`);
    const credentials = "/run/credentials";
    await root.must("install", "-d", "-o", "spire-agent", "-m", "500", credentials);
    root.write(join(credentials, "join"), word);
    await root.must("chmod", "644", join(credentials, "join"));
    const env = ["env", `CREDENTIALS_DIRECTORY=${credentials}`];
    const valid = await root.must(...env, "spire-agent", "validate");
    expect(valid).toContain("configuration file is valid");
    await start("agent", ...env);
    const fetched = await eventually(
      "an X509-SVID",
      async () => {
        const { stdout } = await root.run(["spire-agent", "api", "fetch", "x509"], { uid: UID });
        return stdout.includes(WORKLOAD) ? stdout : undefined;
      },
      TIMEOUT_MS / 2,
    );
    expect(fetched).toContain("Received 1 svid");
  },
  TIMEOUT_MS,
);

test(
  "they are removed again",
  async () => {
    const said = await root.must("sh", "-c", "dpkg --purge spire-edge-server spire-edge-agent");
    expect(said).toContain("removing /var/lib/spire/server with all that is in it");
    await root.must("test", "!", "-e", "/usr/bin/spire-server");
  },
  TIMEOUT_MS,
);
