/** Keys and certificates as systemd credentials: LoadCredential= with the agent's socket, in real units. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { MachineNode } from "../support/machine-node.ts";
import { eventually } from "../support/process.ts";

const SOCKET = "/run/spire/agent/credentials.sock";
const TIMEOUT_MS = 60_000;

let node: MachineNode;

beforeAll(async () => {
  node = await MachineNode.boot({
    settings: `experimental { credentials_socket_path = "${SOCKET}" }`,
  });
}, 120_000);

afterAll(() => node?.close(), TIMEOUT_MS);

/** A unit of a user of its own that prints the credentials it was started with. */
async function unit(name: string, ...credentials: string[]): Promise<void> {
  await node.machine.write(
    `/etc/systemd/system/${name}`,
    `[Service]
Type=oneshot
DynamicUser=yes
TimeoutStartSec=60
${credentials.map((id) => `LoadCredential=${id}:${SOCKET}`).join("\n")}
ExecStart=/bin/sh -c 'for one in ${credentials.join(" ")}; do echo "== $one"; cat "$$CREDENTIALS_DIRECTORY/$one"; done'
StandardOutput=truncate:/run/${name}.out
`,
  );
  await node.machine.must("systemctl", "daemon-reload");
}

/** What the unit was started with last. */
async function printed(name: string): Promise<Readonly<Record<string, string>>> {
  const text = await node.machine.must("cat", `/run/${name}.out`);
  const parts = text.split(/^== (.*)\n/m).slice(1);
  return Object.fromEntries(
    parts.flatMap((id, index) => (index % 2 === 0 ? [[id, parts[index + 1] ?? ""]] : [])),
  );
}

const journal = (): Promise<string> => node.machine.journal("spire-agent");

/** The journal has a line a moment after it was written. */
const told = (line: RegExp): Promise<true> =>
  eventually(`${line} in the journal`, async () => line.test(await journal()) || undefined);

test(
  "a unit is started with its own key, the certificate that fits, and the authorities",
  async () => {
    const id = "spiffe://example.org/db";
    await node.register(id, ["systemd:id:db@main.service"], "-x509SVIDTTL", "6");
    await unit("db@.service", "tls.key", "tls.crt", "ca.crt", "svid.pem");
    const serials = new Set<string>();
    for (let start = 0; start < 3; start++) {
      await node.machine.must("systemctl", "start", "db@main.service");
      const got = await printed("db@.service");
      const certificate = new X509Certificate(got["tls.crt"] ?? "");
      expect(certificate.subjectAltName).toBe(`URI:${id}`);
      expect(certificate.checkPrivateKey(createPrivateKey(got["tls.key"] ?? ""))).toBe(true);
      const authority = new X509Certificate(got["ca.crt"] ?? "");
      expect(certificate.verify(authority.publicKey)).toBe(true);
      expect(got["svid.pem"]).toBe(`${got["tls.crt"]}${got["tls.key"]}`);
      serials.add(certificate.serialNumber);
    }
    expect(serials.size).toBeGreaterThan(0);
    expect(await node.machine.must("stat", "--format=%a %U", SOCKET)).toBe("600 spire-agent\n");
  },
  TIMEOUT_MS,
);

test(
  "hints choose among several SVIDs, and selectors that only a process has are not enough",
  async () => {
    const selectors = ["systemd:id:two.service"];
    const file = "systemd:fragment_path:/etc/systemd/system/two.service";
    await node.register("spiffe://example.org/in", selectors, "-hint", "internal");
    await node.register("spiffe://example.org/out", [...selectors, file], "-hint", "external");
    await node.register("spiffe://example.org/root", [...selectors, "unix:uid:0"], "-hint", "root");
    await unit("two.service", "tls.crt@internal", "tls.crt@external");
    await node.machine.must("systemctl", "start", "two.service");
    const got = Object.values(await printed("two.service"));
    expect(got.map((text) => new X509Certificate(text).subjectAltName)).toEqual([
      "URI:spiffe://example.org/in",
      "URI:spiffe://example.org/out",
    ]);
  },
  TIMEOUT_MS,
);

test(
  "a unit that is not registered waits, and is started as soon as it is",
  async () => {
    await unit("late.service", "tls.crt");
    await node.machine.must("systemctl", "start", "--no-block", "late.service");
    await eventually(
      "it is told of",
      async () =>
        /Credential request is waiting for its SVID.* unit=late.service/.test(await journal()) ||
        undefined,
    );
    expect((await node.machine.show("late.service"))["ActiveState"]).toBe("activating");
    await node.register("spiffe://example.org/late", ["systemd:id:late.service"]);
    await eventually("it has run", async () => {
      return (await node.machine.show("late.service"))["Result"] === "success" &&
        (await node.machine.show("late.service"))["ActiveState"] === "inactive"
        ? true
        : undefined;
    });
    const got = await printed("late.service");
    expect(new X509Certificate(got["tls.crt"] ?? "").subjectAltName).toBe(
      "URI:spiffe://example.org/late",
    );
  },
  TIMEOUT_MS,
);

/** Asks as systemd would, from a process of our own. */
const IMPOSTOR = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
if sys.argv[1] != "": s.bind("\\0" + sys.argv[1])
s.connect("${SOCKET}")
s.shutdown(socket.SHUT_WR)
print("got %d bytes" % len(s.recv(100000)))
`;

test.each([
  [
    "0123456789abcdef/unit/two.service/tls.key@internal",
    /of \S+\.service asks for a credential of two.service/,
  ],
  ["", /does not say for which unit it asks/],
  ["0123456789abcdef/unit/two.service/../tls.key", /does not say for which unit it asks/],
])(
  "another process of root that claims %j gets nothing",
  async (name, problem) => {
    await node.machine.write("/run/impostor.py", IMPOSTOR);
    const run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "/usr/bin/python3"];
    expect(await node.machine.must(...run, "/run/impostor.py", name)).toBe("got 0 bytes\n");
    await told(problem);
  },
  TIMEOUT_MS,
);

test(
  "a process that is not root's cannot even connect, the agent's own user is refused",
  async () => {
    const name = "0123456789abcdef/unit/two.service/tls.key@internal";
    const as = (user: string) =>
      node.machine.run(
        "setpriv",
        `--reuid=${user}`,
        "--clear-groups",
        "/usr/bin/python3",
        "/run/impostor.py",
        name,
      );
    expect((await as("daemon")).stderr).toContain("PermissionError");
    expect((await as("spire-agent")).stdout).toBe("got 0 bytes\n");
    await told(/user \d+ is not the service manager/);
  },
  TIMEOUT_MS,
);

test(
  "a credential that there is not is refused by name, and the unit has an empty file",
  async () => {
    await unit("typo.service", "tls.pem");
    await node.machine.must("systemctl", "start", "typo.service");
    expect(await printed("typo.service")).toEqual({ "tls.pem": "" });
    await told(/typo.service asks for the credential .*tls.pem.*; there are tls.key/);
  },
  TIMEOUT_MS,
);
