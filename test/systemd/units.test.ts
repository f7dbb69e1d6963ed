/** What the units say, one directive after the other, and what of it is in force; secrets that come as systemd's credentials. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { AGENT_SOCKET, MachineNode } from "../support/machine-node.ts";
import { eventually } from "../support/process.ts";

const UNITS = resolve(import.meta.dir, "../../systemd");
const TIMEOUT_MS = 60_000;

let node: MachineNode;
beforeAll(async () => {
  node = await MachineNode.boot();
}, 120_000);
afterAll(() => node?.close(), TIMEOUT_MS);

/** syslog(3) */
const PRIORITY_OF: Readonly<Record<string, string>> = { error: "3", warning: "4", info: "6" };

/** The [Service] lines of a unit, the values of one directive together. */
function directivesOf(unit: string): ReadonlyMap<string, string> {
  const text = readFileSync(join(UNITS, unit), "utf8");
  const section = /^\[Service\]\n(.*?)^\[/ms.exec(text)?.[1] ?? "";
  const found = new Map<string, string>();
  for (const [, name = "", value = ""] of section.matchAll(/^(\w+)=(.*)$/gm)) {
    found.set(name, [found.get(name), value].filter((one) => one !== undefined).join(" "));
  }
  return found;
}

/** Where systemd shows a directive under another name. */
const PROPERTIES: Readonly<Record<string, string>> = {
  WatchdogSec: "WatchdogUSec",
  RestartSec: "RestartUSec",
  TimeoutStartSec: "TimeoutStartUSec",
  TimeoutStopSec: "TimeoutStopUSec",
};

/** Where systemd shows a value in other words. */
const SHOWN: Readonly<Record<string, string>> = { "120s": "2min" };

const words = (text: string): string[] => text.split(/[ ;]+/).sort();

/** Directives that systemd shows in a form of its own. */
const SPECIAL: Readonly<Record<string, (shown: string, value: string) => void>> = {
  ExecStart: (shown, value) => expect(shown).toContain(`argv[]=${value} ;`),
  ExecReload: (shown, value) => {
    const commands = value.split(/ (?=\/usr\/bin\/|\/bin\/sh)/);
    expect(commands).toHaveLength(3);
    for (const command of commands) {
      expect(shown).toContain(`argv[]=${command.replaceAll("'", "")} ;`);
    }
  },
  Environment: (shown, value) => expect(words(shown)).toEqual(words(value)),
  UnsetEnvironment: (shown, value) => expect(words(shown)).toEqual(words(value)),
  CapabilityBoundingSet: (shown, value) => expect(words(shown)).toEqual(words(value.toLowerCase())),
  AmbientCapabilities: (shown, value) => expect(words(shown)).toEqual(words(value.toLowerCase())),
  RestrictAddressFamilies: (shown, value) => expect(words(shown)).toEqual(words(value)),
  SystemCallErrorNumber: (shown) => expect(["1", "EPERM"]).toContain(shown),
  SystemCallFilter: (shown) => {
    const calls = shown.split(" ");
    const needed = ["openat", "sendmsg", "clone3", "pidfd_open"];
    expect(calls.filter((call) => needed.includes(call))).toHaveLength(needed.length);
    const dangerous = ["mount", "ptrace", "bpf", "chroot", "setuid", "init_module", "reboot"];
    expect(calls.filter((call) => dangerous.includes(call))).toEqual([]);
  },
};

test.each([
  ["spire-server.service", "spire-server"],
  ["spire-agent.service", "spire-agent"],
  ["spire-svid-files@.service", "spire-svid-files@none"],
])("every directive of %s is in force", async (file, unit) => {
  const shown = await node.machine.show(unit);
  for (const [name, text] of directivesOf(file)) {
    // It counts from the start on.
    if (name === "WatchdogSec" && shown["ActiveState"] !== "active") continue;
    const value = text.replaceAll("%i", "none");
    // It shows none; what they do is tested below.
    if (name.endsWith("Credential")) continue;
    const property = shown[PROPERTIES[name] ?? name];
    const special = SPECIAL[name];
    if (property === undefined) throw new Error(`systemd knows no ${name}`);
    if (special !== undefined) special(property, value);
    else expect(`${name}=${property}`).toBe(`${name}=${SHOWN[value] ?? value}`);
  }
});

test(
  "what the units promise holds for the processes that run",
  async () => {
    for (const [unit, capabilities] of [
      ["spire-server", 0n],
      // CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
      ["spire-agent", (1n << 19n) | (1n << 2n)],
    ] as const) {
      const shown = await node.machine.show(unit);
      expect(shown).toMatchObject({
        Type: "notify",
        NotifyAccess: "all",
        User: unit,
        WatchdogUSec: "30s",
        Restart: "on-failure",
        ProtectSystem: "strict",
        NoNewPrivileges: "yes",
        LimitCORE: "0",
        UMask: "0077",
        MemorySwapMax: "0",
        RuntimeDirectoryPreserve: unit === "spire-agent" ? "yes" : "no",
        FileDescriptorStoreMax: unit === "spire-agent" ? "4" : "0",
      });
      const pid = shown["MainPID"];
      const status = await node.machine.must("cat", `/proc/${pid}/status`);
      for (const set of ["CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        expect(status).toContain(`${set}:\t${capabilities.toString(16).padStart(16, "0")}\n`);
      }
      expect(status).toMatch(/NoNewPrivs:\t1\n(.*\n)*Seccomp:\t2\n/);
      expect(await node.machine.must("cat", `/proc/${pid}/environ`)).not.toMatch(
        /BUN_(BE_BUN|OPTIONS)=/,
      );
      const readOnly = ["/etc/spire", "/usr", "/root"].map(
        (path) => `/proc/${pid}/root${path}/probe`,
      );
      for (const path of readOnly) expect((await node.machine.run("touch", path)).code).not.toBe(0);
    }
    expect(
      await node.machine.must(
        "stat",
        "--format=%a %U",
        "/var/lib/spire/server",
        "/var/lib/spire/agent",
        "/run/spire/server",
      ),
    ).toBe("700 spire-server\n700 spire-agent\n750 spire-server\n");
  },
  TIMEOUT_MS,
);

test(
  "systemd finds nothing to say about the units, and little that they might do",
  async () => {
    const instance = "spire-agent@second.service";
    const files = "spire-svid-files@second.service";
    const units = [
      ...["spire-server.service", "spire-agent.service", "spire-agent.socket"],
      ...[instance, files],
    ];
    // It ends with 0 also when it complains.
    const { code, stdout, stderr } = await node.machine.run("systemd-analyze", "verify", ...units);
    expect({ code, printed: stdout + stderr }).toEqual({ code: 0, printed: "" });
    for (const [unit, most] of [
      ["spire-server.service", 14],
      ["spire-agent.service", 20],
      ["spire-agent@.service", 20],
      ["spire-svid-files@.service", 16],
    ]) {
      const options = ["--offline=yes", "--no-pager", `--threshold=${most}`];
      const file = `/etc/systemd/system/${unit}`;
      await node.machine.must("systemd-analyze", "security", ...options, file);
    }
  },
  TIMEOUT_MS,
);

test("what the units hand over is found by whoever looks at the configuration by hand", async () => {
  const configuration = ["-config", "/etc/spire/agent/agent.conf"];
  expect(await node.machine.must("spire-agent", "validate", ...configuration)).toContain(
    "is valid",
  );
  const doctor = await node.machine.run("spire-agent", "doctor", ...configuration);
  expect(doctor.stdout).toContain("valid, for trust domain example.org");
  expect(doctor.stdout).toContain("the agent sees what programs all users run");
});

/** What the journal has of a unit, a line an object. */
async function journalOf(unit: string, ...matches: string[]): Promise<Record<string, string>[]> {
  const options = ["--unit", unit, "--no-pager", "--output=json"];
  const text = await node.machine.must("journalctl", ...options, ...matches);
  const lines = text.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line));
}

test("each line in the journal has its own priority, and fields to look for", async () => {
  const refused = await node.machine.run(
    ...["setpriv", "--reuid=4321", "--clear-groups", "spire-agent", "api", "fetch", "x509"],
    ...["-socketPath", AGENT_SOCKET],
  );
  expect(refused.code).toBe(1);
  const [line] = await eventually("the line of a refusal", async () => {
    const found = await journalOf("spire-agent", "PRIORITY=4", "UID=4321");
    return found.length > 0 ? found : undefined;
  });
  expect(line).toMatchObject({
    TRUST_DOMAIN: "example.org",
    SYSLOG_IDENTIFIER: "spire-agent",
    _SYSTEMD_UNIT: "spire-agent.service",
  });
  expect(line?.["MESSAGE"]).toContain('level=warning msg="No identity issued"');
  const own = (await node.server("agent", "list")).match(/spiffe:\S+/)?.[0];
  const [joined] = await journalOf("spire-agent", `SPIFFE_ID=${own}`);
  expect(joined?.["MESSAGE"]).toContain("Node attestation was successful");
  for (const unit of ["spire-server", "spire-agent"]) {
    for (const { MESSAGE = "", PRIORITY } of await journalOf(unit)) {
      const [, level = ""] = /^time=\S+ level=(\w+) /.exec(MESSAGE) ?? [];
      if (level !== "") expect([level, PRIORITY]).toEqual([level, PRIORITY_OF[level]]);
    }
  }
});

test("a start that fails says why with the priority of an error", async () => {
  const unit = "spire-fails.service";
  const options = ["--wait", "--quiet", `--unit=${unit}`];
  const command = ["spire-agent", "run", "-config", "/etc/spire/missing.conf"];
  expect((await node.machine.run("systemd-run", ...options, ...command)).code).toBe(1);
  const lines = await eventually("its lines", async () => {
    const found = await journalOf(unit, "PRIORITY=3", "_COMM=spire-agent");
    return found.length > 0 ? found : undefined;
  });
  expect(lines[0]?.["MESSAGE"]).toContain("/etc/spire/missing.conf");
});

test("the two agent units say the same, each of its own files", () => {
  const single = directivesOf("spire-agent.service");
  const template = directivesOf("spire-agent@.service");
  const changed = [...template].filter(([name, value]) => single.get(name) !== value);
  expect(template.size).toBe(single.size);
  expect(changed.map(([name]) => name).sort()).toEqual([
    "ExecReload",
    "ExecStart",
    "LoadCredential",
    "RuntimeDirectory",
    "StateDirectory",
  ]);
});

/** agent.conf for an instance of the template. */
async function configurationOf(instance: string): Promise<string> {
  const conf = await node.machine.must("cat", "/etc/spire/agent/agent.conf");
  return conf
    .replaceAll("/run/spire/agent/", `/run/spire/agent-${instance}/`)
    .replaceAll("/var/lib/spire/agent", `/var/lib/spire/agent-${instance}`);
}

test(
  "without memory that is written to and executed, a daemon says what forbids it",
  async () => {
    const dropIn = "/run/systemd/system/spire-agent@strict.service.d/strict.conf";
    await node.machine.write(dropIn, "[Service]\nMemoryDenyWriteExecute=yes\nRestart=no\n");
    await node.machine.write("/etc/spire/agent/strict.conf", await configurationOf("strict"));
    await node.machine.must("cp", "/etc/spire/agent/join", "/etc/spire/agent/strict.join");
    await node.machine.must("systemctl", "daemon-reload");
    expect((await node.machine.run("systemctl", "start", "spire-agent@strict")).code).not.toBe(0);
    expect(await node.machine.journal("spire-agent@strict")).toContain(
      "take MemoryDenyWriteExecute= out of the unit",
    );
  },
  TIMEOUT_MS,
);

describe("secrets that root alone may read", () => {
  const secret = async (name: string, text: string): Promise<void> => {
    await node.machine.write(`/etc/credstore/${name}`, text);
    await node.machine.must("chmod", "600", `/etc/credstore/${name}`);
  };

  test(
    "an agent joins by a token that is a credential; without it, it says what the unit lacks",
    async () => {
      const conf = await configurationOf("second");
      await node.machine.write("/etc/spire/bundle.pem", await node.server("bundle", "show"));
      await node.machine.write(
        "/etc/spire/agent/second.conf",
        conf.replace(
          "agent {",
          `agent {
  trust_domain = "example.org"
  server_address = "localhost"
  server_port = 8081
  trust_bundle_path = "/etc/spire/bundle.pem"
  join_token_file = "credential:join-token"`,
        ),
      );
      const start = () => node.machine.run("systemctl", "start", "spire-agent@second");
      expect((await start()).code).not.toBe(0);
      await node.machine.must("systemctl", "stop", "spire-agent@second");
      expect(await node.machine.journal("spire-agent@second")).toMatch(
        /second\.conf:\d+: join_token_file: there is no credential "join-token" in \/run\/credentials\/\S+: the unit needs LoadCredential=/,
      );
      const token = await node.token("spiffe://example.org/second");
      await secret("spire-agent-second.join-token", `${token}\n`);
      expect((await start()).stderr).toBe("");
      await node.machine.must("systemctl", "reload", "spire-agent@second");
      await node.machine.must("systemctl", "stop", "spire-agent@second");
    },
    TIMEOUT_MS,
  );

  test(
    "a server signs below an authority whose key is a credential, and reloads with it",
    async () => {
      const { machine } = node;
      await machine.must(
        ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ...["-nodes", "-days", "3", "-subj", "/CN=above", "-addext", "keyUsage=keyCertSign"],
        ...["-keyout", "/root/key.pem", "-out", "/etc/spire/server/above.pem"],
      );
      await secret("spire-server.upstream-key", await machine.must("cat", "/root/key.pem"));
      const conf = await machine.must("cat", "/etc/spire/server/server.conf");
      const upstream = `UpstreamAuthority "disk" {
        plugin_data {
          cert_file_path = "/etc/spire/server/above.pem"
          key_file_path = "credential:upstream-key"
        }
      }`;
      await machine.write(
        "/etc/spire/server/server.conf",
        conf.replace("plugins {", `plugins {\n${upstream}`),
      );
      await machine.must("systemctl", "restart", "spire-server");
      await machine.must("systemctl", "reload", "spire-server");
      await eventually("the reload is done", async () => {
        const { SubState } = await machine.show("spire-server");
        return SubState === "running" || undefined;
      });
      const { StatusText } = await machine.show("spire-server");
      expect(StatusText).toEndWith("; upstream disk: in order");
      const byHand = ["spire-server", "validate", "-config", "/etc/spire/server/server.conf"];
      expect(await machine.must(...byHand)).toContain("is valid");
      const doctor = await machine.run("spire-server", "doctor", ...byHand.slice(2));
      expect(doctor.stdout).toContain("its files are credentials of the server's unit");
      expect(await machine.journal("spire-server")).not.toContain("level=error");
    },
    TIMEOUT_MS,
  );
});

test(
  "the status says why declared entries were rejected, until they are right",
  async () => {
    const { machine } = node;
    const path = "/etc/spire/server/server.conf";
    const conf = await machine.must("cat", path);
    await machine.write("/etc/spire/server/entries.d/a.yaml", "entries:\n  - spiffeid: nonsense\n");
    await machine.write(path, conf.replace("#entries_dir", "entries_dir"));
    const status = (isMeant: (text: string) => boolean): Promise<string> =>
      eventually("its status", async () => {
        const { StatusText = "" } = await machine.show("spire-server");
        return isMeant(StatusText) ? StatusText : undefined;
      });
    await machine.must("systemctl", "restart", "spire-server");
    expect(await status((text) => text.startsWith("Serving"))).toContain(
      "; declared entries rejected: a.yaml:2:",
    );
    await machine.write("/etc/spire/server/entries.d/a.yaml", "entries: []\n");
    await status((text) => text.startsWith("Serving") && !text.includes("rejected"));
    await machine.write(path, conf);
    await machine.must("systemctl", "restart", "spire-server");
  },
  TIMEOUT_MS,
);

describe("an agent that has not joined", () => {
  const again = async (word: string, ...units: string[]): Promise<void> => {
    const { machine } = node;
    await machine.must("systemctl", "stop", "spire-agent", "spire-agent.socket");
    await machine.must("sh", "-c", "rm -rf /var/lib/spire/agent/*");
    await machine.write("/etc/spire/agent/join", word);
    for (const unit of [...units, "spire-agent"]) {
      await machine.must("systemctl", "start", "--no-block", unit);
    }
  };

  test(
    "stays down when its word is used up, and says that it was",
    async () => {
      const { machine } = node;
      const address = ["-serverAddress", "localhost"];
      const word = await node.server("token", "generate", "-join", ...address);
      await again(word);
      await machine.must("systemctl", "start", "spire-agent");
      await again(word);
      const shown = await eventually("it is down", async () => {
        const found = await machine.show("spire-agent");
        return found["ActiveState"] === "failed" ? found : undefined;
      });
      expect(shown).toMatchObject({ ExecMainStatus: "77", NRestarts: "0" });
      expect(shown["StatusText"]).toContain("join token does not exist or has already been used");
    },
    TIMEOUT_MS,
  );

  test(
    "says in its status what it waits for, and so does healthcheck",
    async () => {
      const { machine } = node;
      const address = ["-serverAddress", "vm.invalid"];
      const word = await node.server("token", "generate", "-join", ...address);
      await again(word, "spire-agent.socket");
      const reason = "Joining vm.invalid:8081: the name vm.invalid does not resolve";
      await eventually("its status", async () => {
        const { StatusText } = await machine.show("spire-agent");
        return StatusText === reason || undefined;
      });
      const { code, stderr } = await machine.run("spire-agent", "healthcheck");
      expect(code).toBe(1);
      expect(stderr).toContain(`(spire-agent.service: ${reason})`);
      expect(stderr).toContain("nothing answered on /run/spire/agent/public/api.sock within 5 s");
    },
    TIMEOUT_MS,
  );
});
