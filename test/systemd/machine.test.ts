/**
 * Both daemons as packages and units under a real systemd, in the order an operator meets them: installed, started, joined, watched,
 * reloaded, upgraded while the server is away, removed.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Machine } from "../support/machine.ts";
import { buildPackages } from "../support/packages.ts";
import { eventually } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const AGENT_SOCKET = "/run/spire/agent/public/api.sock";
const NODE = "spiffe://example.org/node";
const WORKLOAD = "spiffe://example.org/db";
/** An executable that nobody but its owner may read. */
const PRIVATE = "/opt/db/bin/fetch";
/** As status lines have it. */
const MOMENT = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC";
const TIMEOUT_MS = 60_000;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-machine-"));
let machine: Machine;

beforeAll(async () => {
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", directory]);
  machine = await Machine.boot(directory, directory);
}, 180_000);

afterAll(async () => {
  await machine?.close();
  rmSync(directory, { recursive: true, force: true });
}, TIMEOUT_MS);

const server = (...words: string[]): Promise<string> => machine.must("spire-server", ...words);

/** What the service `db`, with a user of its own, gets from the agent. */
async function fetchSvid(): Promise<string> {
  const options = ["--wait", "--pipe", "--quiet", "--collect", "--property=User=db"];
  const command = [PRIVATE, "api", "fetch", "x509", "-output", "json"];
  const { svids } = JSON.parse(await machine.must("systemd-run", ...options, ...command));
  expect(svids[0].spiffe_id).toBe(WORKLOAD);
  return new X509Certificate(Buffer.from(svids[0].x509_svid, "base64")).serialNumber;
}

const served = (): Promise<string> => eventually("the service gets its SVID", fetchSvid);

/** What `systemctl status` shows of a unit, as soon as it has the words. */
const statusWith = (unit: string, words: string): Promise<string> =>
  eventually(`${unit} says ${words}`, async () => {
    const { StatusText = "" } = await machine.show(unit);
    return StatusText.includes(words) ? StatusText : undefined;
  });

async function mainPid(unit: string): Promise<string> {
  return (await machine.show(unit))["MainPID"] ?? "";
}

test(
  "the packages bring users and configuration that only root may change, and start nothing",
  async () => {
    await machine.must("sh", "-c", "dpkg --install /packages/*.deb");
    const files = ["/etc/spire/server/server.conf", "/etc/spire/agent/agent.conf"];
    expect(await machine.must("stat", "--format=%a %U:%G", ...files)).toBe(
      "640 root:spire-server\n640 root:spire-agent\n",
    );
    for (const unit of ["spire-server", "spire-agent"]) {
      expect((await machine.run("systemctl", "is-enabled", unit)).stdout).toBe("disabled\n");
      expect((await machine.show(unit))["ActiveState"]).toBe("inactive");
    }
    expect((await machine.run("systemctl", "--failed", "--quiet")).stdout).toBe("");
  },
  TIMEOUT_MS,
);

test.each(["spire-server", "spire-agent"])(
  "%s comes with completion and a manual page",
  async (name) => {
    const script = `/usr/share/bash-completion/completions/${name}`;
    expect(await machine.must("bash", "-c", `source ${script} && complete -p ${name}`)).toContain(
      name,
    );
    for (const file of [
      `zsh/vendor-completions/_${name}`,
      `fish/vendor_completions.d/${name}.fish`,
    ]) {
      expect(await machine.must("cat", `/usr/share/${file}`)).toContain("healthcheck");
    }
    const page = await machine.must("zcat", `/usr/share/man/man1/${name}.1.gz`);
    expect(page).toStartWith(`.TH ${name.toUpperCase()} 1 2023-11-14 `);
  },
);

test(
  "a server whose trust domain nobody chose does not start, and says what to write",
  async () => {
    expect((await machine.run("systemctl", "start", "spire-server")).code).not.toBe(0);
    await machine.must("systemctl", "stop", "spire-server");
    const journal = await machine.journal("spire-server");
    expect(journal).toContain(
      'trust_domain must be configured: write trust_domain = "example.org", with the name of yours, into the server block of /etc/spire/server/server.conf',
    );
    await machine.nameTrustDomain();
  },
  TIMEOUT_MS,
);

test(
  "the server is started when its API answers, and says what it serves",
  async () => {
    // What would make another program of the executable must not reach it.
    await machine.must("systemctl", "set-environment", "BUN_BE_BUN=1", "BUN_OPTIONS=--version");
    await machine.must("systemctl", "enable", "--now", "spire-server");
    expect(await server("healthcheck")).toContain("Server is healthy.");
    const { StatusText } = await machine.show("spire-server");
    expect(StatusText).toMatch(
      new RegExp(
        `^Serving trust domain example.org on 0.0.0.0:8081; entries: 0; agents: 0; CA rotates ${MOMENT}, expires ${MOMENT}$`,
      ),
    );
  },
  TIMEOUT_MS,
);

test(
  "an agent that no server is named for says what it lacks",
  async () => {
    expect((await machine.run("systemctl", "start", "spire-agent")).code).not.toBe(0);
    await machine.must("systemctl", "stop", "spire-agent");
    expect(await machine.journal("spire-agent")).toContain(
      "server_address must be configured, or a join word (join_file)",
    );
  },
  TIMEOUT_MS,
);

const wordFor = (...words: string[]): Promise<string> =>
  server("token", "generate", "-join", "-serverAddress", "localhost", ...words);

test(
  "the agent joins by one word, in a file that root alone may read",
  async () => {
    const word = await wordFor("-spiffeID", NODE);
    await machine.write("/etc/spire/agent/join", word);
    await machine.must("chmod", "600", "/etc/spire/agent/join");
    await machine.must("systemctl", "enable", "--now", "spire-agent");
    expect(await machine.journal("spire-agent")).not.toContain(word.slice(-20));
    await machine.must("systemctl", "unset-environment", "BUN_BE_BUN", "BUN_OPTIONS");
    expect((await machine.show("spire-agent"))["StatusText"]).toMatch(
      new RegExp(
        `^Agent of trust domain example.org; server localhost:8081 connected; entries: 1; X509-SVIDs: [01]; next rotation ${MOMENT}$`,
      ),
    );
    expect(await machine.must("stat", "--format=%a", AGENT_SOCKET)).toBe("777\n");
  },
  TIMEOUT_MS,
);

test(
  "a service under its own uid gets an SVID by the hash of an executable that only it may read",
  async () => {
    await machine.must("useradd", "--system", "db");
    await machine.must("install", "-D", "-m", "700", "-o", "db", "/usr/bin/spire-agent", PRIVATE);
    await machine.must("sh", "-c", "chown -R db /opt/db && chmod 700 /opt/db/bin");
    const [digest = ""] = (await machine.must("sha256sum", PRIVATE)).split(" ");
    const uid = (await machine.must("id", "--user", "db")).trim();
    const selectors = [`unix:uid:${uid}`, `unix:path:${PRIVATE}`, `unix:sha256:${digest}`];
    const flags = selectors.flatMap((selector) => ["-selector", selector]);
    await server("entry", "create", "-parentID", NODE, "-spiffeID", WORKLOAD, ...flags);
    await served();
    await statusWith("spire-server", "; entries: 2; agents: 1; ");
    await statusWith("spire-agent", " connected; entries: 2; X509-SVIDs: 2; ");
  },
  TIMEOUT_MS,
);

test(
  "commands find what the packages installed without being told where it is",
  async () => {
    expect(await machine.must("spire-agent", "healthcheck")).toBe("Agent is healthy.\n");
    for (const program of ["spire-server", "spire-agent"]) {
      expect(await machine.must(program, "validate")).toContain("configuration file is valid");
      const { stdout } = await machine.run(program, "doctor");
      expect(stdout).toContain("valid, for trust domain example.org");
      expect(stdout).toMatch(/^OK +health /m);
      // It would run as root, on the files of another user.
      const run = await machine.run(program, "run");
      expect(run.code).toBe(1);
      expect(run.stderr).toMatch(
        /could not find config file .*\(the packages' file is \/etc\/spire\//,
      );
    }
    expect(await machine.must("spire-agent", "api", "explain", "-pid", "1")).toContain(
      "unix:uid:0",
    );
    expect(await machine.must("spire-agent", "api", "explain")).toContain("unix:uid:0");
    expect(await machine.must("spire-agent", "logger", "get")).toContain("info");
    // Another user is told which socket it is that he may not use.
    const other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    const refused = await machine.run(...other, "spire-server", "entry", "count");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("/run/spire/server/api.sock");
  },
  TIMEOUT_MS,
);

test(
  "an agent that hangs is found by the watchdog, and its successor serves what it served",
  async () => {
    const serial = await served();
    const faster = "/run/systemd/system/spire-agent.service.d/faster.conf";
    await machine.write(faster, "[Service]\nWatchdogSec=1s\n");
    await machine.must("systemctl", "daemon-reload");
    await machine.must("systemctl", "stop", "spire-server");
    await machine.must("systemctl", "restart", "spire-agent");
    expect(await served()).toBe(serial);
    const text = await statusWith("spire-agent", "; server localhost:8081 not reached yet: ");
    expect(text).toContain("; entries: 2; X509-SVIDs: 2; ");
    const pid = await mainPid("spire-agent");
    await machine.must("kill", "-STOP", pid);
    await eventually("another process", async () => {
      const { NRestarts, MainPID, ActiveState } = await machine.show("spire-agent");
      return (NRestarts === "1" && MainPID !== pid && ActiveState === "active") || undefined;
    });
    expect(await machine.journal("spire-agent")).toContain("Watchdog timeout");
    expect(await served()).toBe(serial);
    await machine.must("rm", faster);
    await machine.must("systemctl", "daemon-reload");
  },
  TIMEOUT_MS,
);

test(
  "an agent is upgraded while its server is away, and the service notices nothing",
  async () => {
    const serial = await served();
    const pid = await mainPid("spire-agent");
    await machine.must("sh", "-c", "dpkg --install /packages/spire-edge-agent_*.deb");
    expect(await mainPid("spire-agent")).not.toBe(pid);
    expect(await served()).toBe(serial);
    // Installing starts nothing that the operator has stopped.
    await machine.must("sh", "-c", "dpkg --install /packages/spire-edge-server_*.deb");
    expect((await machine.show("spire-server"))["ActiveState"]).toBe("inactive");
    expect((await machine.run("systemctl", "is-enabled", "spire-server")).stdout).toBe("enabled\n");
    await machine.must("systemctl", "start", "spire-server");
  },
  TIMEOUT_MS,
);

test.each(["spire-server", "spire-agent"])(
  "%s is reloaded in place, and stops when told",
  async (unit) => {
    const before = await machine.show(unit);
    const file = `/etc/spire/${unit.slice("spire-".length)}/${unit.slice("spire-".length)}.conf`;
    const conf = await machine.must("cat", file);
    await machine.write(file, `${conf}nonsense = 1\n`);
    expect((await machine.run("systemctl", "reload", unit)).code).not.toBe(0);
    expect(await machine.journal(unit)).toMatch(/conf:\d+: unknown configuration detected/);
    expect(await machine.journal(unit)).not.toContain("Asked to reload");
    await machine.write(file, conf.replace(/(agent|server) \{/, '$&\n  log_level = "DEBUG"'));
    await machine.must("systemctl", "reload", unit);
    await eventually("the reload is done", async () => {
      const { SubState } = await machine.show(unit);
      return SubState === "running" || undefined;
    });
    expect(await machine.journal(unit)).toContain('took effect" keys=log_level');
    const { MainPID, ActiveState, StatusText } = await machine.show(unit);
    expect({ MainPID, ActiveState }).toEqual({
      MainPID: before["MainPID"] ?? "",
      ActiveState: "active",
    });
    expect(StatusText).toContain("trust domain example.org");
    await machine.must("systemctl", "stop", unit);
    expect(await machine.show(unit)).toMatchObject({ Result: "success", ExecMainStatus: "0" });
    expect(await machine.journal(unit)).toContain("stopped gracefully");
    await machine.must("systemctl", "start", unit);
  },
  TIMEOUT_MS,
);

test(
  "a second agent runs beside the first as an instance of the template",
  async () => {
    const conf = await machine.must("cat", "/etc/spire/agent/agent.conf");
    await machine.write("/etc/spire/agent/second.join", await wordFor());
    await machine.write(
      "/etc/spire/agent/second.conf",
      conf
        .replaceAll("/run/spire/agent/", "/run/spire/agent-second/")
        .replaceAll("/var/lib/spire/agent", "/var/lib/spire/agent-second"),
    );
    await machine.must("systemctl", "start", "spire-agent@second");
    const socket = "/run/spire/agent-second/public/api.sock";
    const healthy = await machine.must("spire-agent", "healthcheck", "-socketPath", socket);
    expect(healthy).toContain("Agent is healthy.");
    await machine.must("systemctl", "stop", "spire-agent@second");
  },
  TIMEOUT_MS,
);

/** The unit that docs/BACKUP.md shows. */
function documentedBackupUnit(): string {
  const text = readFileSync(join(ROOT, "docs/BACKUP.md"), "utf8");
  const lines = /\n( {4}\[Service\]\n(?: {4}.*\n)+)/.exec(text)?.[1] ?? "";
  return lines.replaceAll(/^ {4}/gm, "");
}

test(
  "a backup by the documented unit brings the server back after its data are lost",
  async () => {
    const key = ["--name=passphrase", "--with-key=host"];
    const credential = "/etc/spire/server/backup-passphrase.cred";
    await machine.write("/root/passphrase", "correct horse");
    await machine.must("systemd-creds", "encrypt", ...key, "/root/passphrase", credential);
    const unit = "spire-server-backup.service";
    await machine.write(`/etc/systemd/system/${unit}`, documentedBackupUnit());
    expect(await machine.run("systemd-analyze", "verify", unit)).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    await machine.must("systemctl", "start", unit);
    const file = "/var/lib/spire/server-backup/latest";
    expect(await machine.must("stat", "--format=%a %U", file)).toBe("600 spire-server\n");

    await machine.must("systemctl", "stop", "spire-server");
    await machine.must("sh", "-c", "rm -r /var/lib/spire/server/*");
    const secret = ["-passphraseFile", "/root/passphrase"];
    await machine.must("spire-server", "backup", "verify", ...secret, file);
    await machine.must("spire-server", "backup", "restore", ...secret, file);
    const from = (await machine.journal("spire-agent")).length;
    await machine.must("systemctl", "start", "spire-server");
    const other = "spiffe://example.org/db-2";
    const uid = (await machine.must("id", "--user", "db")).trim();
    await server(
      "entry",
      "create",
      "-parentID",
      NODE,
      "-spiffeID",
      other,
      "-selector",
      `unix:uid:${uid}`,
    );
    await eventually("the agent serves what is new", async () => {
      const options = ["--wait", "--pipe", "--quiet", "--collect", "--property=User=db"];
      const command = [PRIVATE, "api", "fetch", "x509"];
      const fetched = await machine.must("systemd-run", ...options, ...command);
      return fetched.includes(other) || undefined;
    });
    expect((await machine.journal("spire-agent")).slice(from)).not.toMatch(/re-?attest/i);
    const { entries } = JSON.parse(
      await server("entry", "show", "-spiffeID", other, "-output", "json"),
    );
    await server("entry", "delete", "-entryID", entries[0].id);
    await machine.must("rm", "-r", `/etc/systemd/system/${unit}`, "/var/lib/spire/server-backup");
    await machine.must("systemctl", "daemon-reload");
  },
  TIMEOUT_MS,
);

test(
  "with the agent's socket unit, a caller that comes before the agent waits for it",
  async () => {
    await machine.must("systemctl", "stop", "spire-agent");
    await machine.must("systemctl", "enable", "--now", "spire-agent.socket");
    expect((await machine.show("spire-agent"))["ActiveState"]).toBe("inactive");
    const options = ["--no-block", "--collect", "--unit=early", "--property=User=db"];
    const watch = [PRIVATE, "api", "watch"];
    await machine.must("systemd-run", ...options, ...watch);
    await eventually(
      "the early caller has its SVID",
      async () => (await machine.journal("early")).includes(WORKLOAD) || undefined,
    );
    await machine.must("systemctl", "stop", "early");
    const socket = await machine.must("stat", "--format=%i %a", AGENT_SOCKET);
    await machine.must("systemctl", "restart", "spire-agent");
    await fetchSvid();
    expect(await machine.must("stat", "--format=%i %a", AGENT_SOCKET)).toBe(socket);
    expect(socket).toEndWith(" 777\n");
  },
  TIMEOUT_MS,
);

test(
  "removal keeps keys, data and configuration; purging asks nothing, removes them and says so",
  async () => {
    const removed = ["spire-edge-server", "spire-edge-agent"];
    await machine.must("dpkg", "--remove", ...removed);
    for (const path of ["/var/lib/spire/server/keys.json", "/etc/spire/agent/agent.conf"]) {
      await machine.must("test", "-e", path);
    }
    expect((await machine.show("spire-server"))["LoadState"]).toBe("not-found");
    expect((await machine.run("pgrep", "spire-")).stdout).toBe("");
    const said = await machine.must("dpkg", "--purge", ...removed);
    expect(said).toContain(
      "spire-edge-server: removing /var/lib/spire/server with all that is in it",
    );
    expect(said).toContain("spire-edge-agent: removing /var/lib/spire/agent-second with all");
    expect((await machine.run("ls", "/var/lib/spire", "/etc/spire", "/run/spire")).stdout).toBe("");
  },
  TIMEOUT_MS,
);
