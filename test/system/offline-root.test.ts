/** A server whose CA a real openssl signs, off the network; the commands are those of docs/OFFLINE-ROOT.md. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backUp, restore } from "../support/backups.ts";
import { Ceremony, pluginBlock, type SigningOptions } from "../support/ceremony.ts";
import { eventually, freePort, run } from "../support/process.ts";
import { ServiceManager } from "../support/service-manager.ts";
import {
  GO_CLIENT,
  type ServerOptions,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const CA_EXTENSIONS = [
  "basicConstraints = critical, CA:TRUE, pathlen:0",
  "keyUsage = critical, keyCertSign, cRLSign",
  "subjectKeyIdentifier = hash",
];
const URI = `subjectAltName = URI:spiffe://${TRUST_DOMAIN}`;

/** A server that waits for its first CA, and the offline machine. */
async function waitingServer(
  options: ServerOptions = {},
): Promise<{ server: TestServer; ceremony: Ceremony }> {
  const ceremony = new Ceremony(stage.room("ceremony"));
  await ceremony.makeRoot();
  const server = await TestServer.prepare(stage, "ours", { plugins: pluginBlock(), ...options });
  ceremony.server = server;
  await startWaiting(server);
  return { server, ceremony };
}

/** Starts the server, and comes back when it waits. */
function startWaiting(server: TestServer): Promise<void> {
  return server.start("Server is waiting for CA: csr at ");
}

async function authority(server: TestServer, which: "active" | "prepared"): Promise<string> {
  const shown = (await server.json("ca", "show"))[which] as { authority_id?: string } | null;
  return shown?.authority_id ?? "";
}

const csrFile = (server: TestServer): string => join(server.directory, "data/server-ca.csr");

test("from the first start to a workload's SVID, without a restart", async () => {
  const healthPort = await freePort();
  const notify = join(stage.room("notify"), "socket");
  const systemd = new ServiceManager(notify);
  await eventually("the service manager listens", async () => existsSync(notify) || undefined);
  const { server, ceremony } = await waitingServer({
    env: { NOTIFY_SOCKET: notify },
    more: `health_checks {\n listener_enabled = true\n bind_address = "127.0.0.1"\n bind_port = "${healthPort}"\n}`,
  });
  // It is up for operators, and for nobody else; whatever needs the CA says why it cannot be had.
  const health = (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${healthPort}${path}`);
  expect((await server.cli("healthcheck")).stderr).toContain("NOT_SERVING");
  await eventually("systemd is told", async () => systemd.heard.includes("READY=1") || undefined);
  expect(systemd.heard).toContain(
    `STATUS=Waiting for CA: csr at ${csrFile(server)}; entries: 0; agents: 0`,
  );
  expect((await health("/live")).status).toBe(200);
  const ready = await health("/ready");
  expect([ready.status, await ready.text()]).toEqual([
    500,
    `{"server":{"x509_ca_err":"waiting for CA: csr at ${csrFile(server)}"}}\n`,
  ]);
  const mint = await server.cli("x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/x`);
  expect(mint.stderr).toContain(
    `code = Unavailable desc = failed to sign X509-SVID: X509 CA is not available for signing: waiting for CA: csr at ${csrFile(server)}`,
  );
  expect(
    (await server.cli("jwt", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/x`, "-audience", "y"))
      .code,
  ).toBe(0);
  // An agent may know the root before there is anything below it; it tries until then.
  const trustBundle = `trust_bundle_path = "${ceremony.root}"`;
  const agent = await TestAgent.prepare(stage, "ours", server, { trustBundle });
  const joined = agent.start();
  await eventually(
    "the agent was refused",
    async () => agent.daemon.lines.some((line) => line.includes("ECONNREFUSED")) || undefined,
  );

  await ceremony.sign();
  const printed = await ceremony.importSigned();
  expect(printed).toContain("It signs now.");
  expect(printed).toContain("Path length: 0");
  expect(printed).toEndWith(readFileSync(ceremony.root, "utf8"));
  expect(existsSync(csrFile(server))).toBe(false);
  await eventually("the server is healthy", async () =>
    (await server.cli("healthcheck")).code === 0 ? true : undefined,
  );
  expect((await health("/ready")).status).toBe(200);
  await eventually("systemd is told", async () => {
    const status = systemd.heard.findLast((line) => line.startsWith("STATUS="));
    return status?.startsWith(`STATUS=Serving trust domain ${TRUST_DOMAIN}`) || undefined;
  });
  await systemd.close();

  await joined;
  await server.entry(`spiffe://${TRUST_DOMAIN}/me`, agent.id, ["unix:uid:1"]);
  const svid = await eventually("the SVID", async () => {
    const answer = await run([GO_CLIENT, "x509", agent.socket], { uid: 1 });
    return answer.code === 0 ? (JSON.parse(answer.stdout) as Record<string, unknown>) : undefined;
  });
  expect(svid["chain"]).toBe(2);
  await opensslVerifies(server, ceremony);
  // A restart goes on with the same CA.
  const before = await authority(server, "active");
  await server.daemon.stop();
  await server.start();
  expect(await authority(server, "active")).toBe(before);
  expect(server.daemon.lines.join("\n")).not.toContain("waiting for CA");
}, 90_000);

/** An output with what differs at every run shown by its kind. */
function masked(text: string, server: TestServer): string {
  return text
    .replaceAll(server.directory, "$DIR")
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC/g, "<time>")
    .replace(/\b[0-9a-f]{40}\b/g, "<key ID>")
    .replace(/SERIALNUMBER=\d+/g, "SERIALNUMBER=<number>");
}

test("what the commands print: before, while a CA signs, and when the next one is asked for", async () => {
  const { server, ceremony } = await waitingServer();
  const shown = async (...words: string[]): Promise<string> => {
    const { stdout, stderr } = await server.cli(...words);
    return masked(stdout + stderr, server);
  };
  const pending = `Pending request:
  Authority ID: <key ID>
  Requested at: <time>
  Needed by: now
  Request at: $DIR/data/server-ca.csr
`;
  const none = (title: string): string => `${title} X.509 authority:\n  None\n\n`;
  expect(await shown("ca", "show")).toBe(
    `${none("Active")}${none("Prepared")}${none("Old")}${pending}`,
  );
  expect(masked((await server.cli("ca", "csr")).stderr, server)).toBe(`What the signer must set:
  Subject           : SERIALNUMBER=<number>,O=SPIFFE,C=US, or another that the issuer does not have itself
  URI SAN           : spiffe://example.org, and no other URI
  Basic constraints : critical, CA:TRUE; pathlen:0, unless servers are to be nested below this one
  Key usage         : critical, keyCertSign, cRLSign; no extended key usage
  Lifetime          : not beyond its issuer's. The next request comes at half of it, at most 30 days before its end
  Signature         : SHA-256 or better
Needed by           : now: nothing is signed without it
Then                : spire-server ca import -cert FILE -root FILE

`);
  await ceremony.sign();
  await ceremony.importSigned();
  const active = `Active X.509 authority:
  Authority ID: <key ID>
  Subject: SERIALNUMBER=<number>,O=SPIFFE,C=US
  Begins at: <time>
  Expires at: <time>
  Path length: 0
  Upstream authority Subject Key ID: <key ID>

`;
  const next = "Pending request:\n  None\n  The next one is made at: <time>\n";
  expect(await shown("ca", "show")).toBe(`${active}${none("Prepared")}${none("Old")}${next}`);
  expect(await shown("ca", "csr")).toBe(
    "Error: could not get the request: rpc error: code = FailedPrecondition desc = no request waits for a signature: `spire-server ca show` tells when the next one is made; `spire-server localauthority x509 prepare` makes one now\n",
  );
  expect(await shown("localauthority", "x509", "prepare")).toBe(
    "Error: could not prepare X.509 authority: rpc error: code = FailedPrecondition desc = failed to prepare X.509 authority: the X.509 authority is signed by hand: its request waits at $DIR/data/server-ca.csr; have it signed, and give it to `spire-server ca import`\n",
  );
  await ceremony.sign();
  expect(await ceremony.importSigned()).toContain("It takes over at ");
  expect(await server.daemon.stop()).toBe(0);
}, 60_000);

test("a backup has the request and its key: what was signed is imported where it is restored", async () => {
  const { server, ceremony } = await waitingServer();
  await ceremony.sign();
  const doctor = await server.cli("doctor", "-config", server.configuration);
  expect(doctor.code).toBe(1);
  expect(doctor.stdout).toContain("no X.509 CA signs: the request at ");
  const path = join(stage.room("backups"), "backup");
  expect(await backUp(server, path)).toMatch(/X.509 request +: since .* UTC, key present/);
  const request = (await server.cli("ca", "csr")).stdout;
  await server.daemon.kill();
  const { port } = server;
  const other = await TestServer.prepare(stage, "ours", { port, plugins: pluginBlock() });
  await restore(other, path);
  await startWaiting(other);
  expect((await other.cli("ca", "csr")).stdout).toBe(request);
  ceremony.server = other;
  expect(await ceremony.importSigned()).toContain("It signs now.");
}, 60_000);

test("a server that makes its CA by itself shows it, and has nothing to be signed", async () => {
  const server = await TestServer.start(stage, "ours");
  const shown = (await server.cli("ca", "show")).stdout;
  expect(shown).toContain("Path length: no limit\n  Upstream authority ID: No upstream authority");
  expect(shown).toEndWith("Pending request:\n  None\n");
  expect((await server.cli("ca", "csr")).stderr).toContain(
    'desc = the CA of this server is not signed by hand: UpstreamAuthority "offline" is not configured',
  );
});

test("a port that is taken when the CA arrives ends the server; the CA is kept", async () => {
  const { server, ceremony } = await waitingServer();
  await ceremony.sign();
  const taken = Bun.listen({ hostname: "127.0.0.1", port: server.port, socket: { data() {} } });
  // The server may be gone before the answer is.
  await server.cli("ca", "import", "-cert", ceremony.certificate, "-root", ceremony.root);
  expect(await server.daemon.exited).toBe(1);
  taken.stop(true);
  await server.start();
  expect(await authority(server, "active")).not.toBe("");
}, 60_000);

/** What openssl says of an SVID, with nothing but the offline root to trust. */
async function opensslVerifies(server: TestServer, ceremony: Ceremony): Promise<void> {
  const directory = stage.room("minted");
  const minted = await server.cli(
    ...["x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/minted`, "-write", directory],
  );
  expect(minted.code).toBe(0);
  const svid = join(directory, "svid.pem");
  const verified = await run([
    ...["openssl", "verify", "-x509_strict", "-CAfile", ceremony.root, "-untrusted", svid, svid],
  ]);
  expect(verified.stdout).toBe(`${svid}: OK\n`);
}

describe("what is refused", () => {
  let server: TestServer;
  let ceremony: Ceremony;
  let other: Ceremony;
  beforeAll(async () => {
    ({ server, ceremony } = await waitingServer());
    other = new Ceremony(stage.room("ceremony"));
    await other.makeRoot();
    await ceremony.sign();
  }, 60_000);

  const importing = async (root = ceremony.root): Promise<string> => {
    const answer = await server.cli("ca", "import", "-cert", ceremony.certificate, "-root", root);
    expect(answer.code).toBe(1);
    expect(await authority(server, "active")).toBe("");
    expect(await Bun.file(csrFile(server)).exists()).toBe(true);
    return answer.stderr;
  };

  test.each([
    [
      "a certificate that is no CA's",
      ["basicConstraints = critical, CA:FALSE", ...CA_EXTENSIONS.slice(1), URI],
      {},
      "it is not a CA certificate",
    ],
    [
      "a CA that may not sign certificates",
      ["basicConstraints = critical, CA:TRUE", "keyUsage = critical, cRLSign", URI],
      {},
      "its key usage must hold keyCertSign",
    ],
    [
      "a CA without a key usage",
      ["basicConstraints = critical, CA:TRUE", URI],
      {},
      "its key usage must hold keyCertSign",
    ],
    [
      "another trust domain",
      [...CA_EXTENSIONS, "subjectAltName = URI:spiffe://other.org"],
      {},
      `its URI SAN is "spiffe://other.org"; it must be "spiffe://${TRUST_DOMAIN}" alone, or none`,
    ],
    [
      "a workload's ID",
      [...CA_EXTENSIONS, `subjectAltName = URI:spiffe://${TRUST_DOMAIN}/web`],
      {},
      `must be "spiffe://${TRUST_DOMAIN}" alone`,
    ],
    [
      "a certificate that ended",
      [...CA_EXTENSIONS, URI],
      { until: "20210101000000Z" },
      "has expired at 2021-01-01",
    ],
    [
      "a life beyond the root's",
      [...CA_EXTENSIONS, URI],
      { days: 5000 },
      "have it signed for less time",
    ],
    [
      "a weak signature",
      [...CA_EXTENSIONS, URI],
      { digest: "sha1" },
      "an algorithm that is weak or not supported",
    ],
    [
      "clients' certificates only",
      [...CA_EXTENSIONS, URI, "extendedKeyUsage = clientAuth"],
      {},
      "leaves out serverAuth or clientAuth",
    ],
    [
      "URIs of another trust domain only",
      [...CA_EXTENSIONS, "nameConstraints = critical, permitted;URI:other.org"],
      {},
      "is outside the name constraints",
    ],
    [
      "no subject key identifier",
      [...CA_EXTENSIONS.slice(0, 2), "subjectKeyIdentifier = none", URI],
      {},
      "it needs a subject key identifier and an authority key identifier",
    ],
    [
      "the subject of the root",
      [...CA_EXTENSIONS, URI],
      { subject: "/O=Example/CN=Example offline root" },
      "it has the subject of its issuer",
    ],
  ])(
    "%s",
    async (_what, extensions, options: SigningOptions, why) => {
      await ceremony.signWith(extensions, options);
      expect(await importing()).toContain(why);
    },
    60_000,
  );

  test("a root that did not sign it, and none at all", async () => {
    await ceremony.signWith([...CA_EXTENSIONS, URI]);
    expect(await importing(other.root)).toContain("it leads to no root that counts");
    const without = await server.cli("ca", "import", "-cert", ceremony.certificate);
    expect(without.stderr).toContain(
      "no root was given: name it with -root, or set root_cert_path",
    );
    const nothing = await server.cli("ca", "import", "-cert", csrFile(server));
    expect(nothing.stderr).toContain("no PEM blocks of type CERTIFICATE found");
  });

  test("another key", async () => {
    const key = join(ceremony.directory, "other.key");
    await ceremony.openssl(
      "genpkey",
      "-algorithm",
      "EC",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-out",
      key,
    );
    await ceremony.openssl(
      ...[
        "req",
        "-new",
        "-key",
        key,
        "-subj",
        "/O=Other",
        "-out",
        join(ceremony.stick, "server-ca.csr"),
      ],
    );
    await ceremony.signWith([...CA_EXTENSIONS, URI]);
    expect(await importing()).toContain("it is for another key than the pending request's");
  });

  test("a root without room below it", async () => {
    const root = join(ceremony.directory, "narrow");
    await narrowRoot(ceremony, root);
    expect(await importing(`${root}.pem`)).toContain("is longer than its path length allows");
  });
});

/** Signs the pending request by a root whose path length is 0. */
async function narrowRoot(ceremony: Ceremony, root: string): Promise<void> {
  await ceremony.openssl(
    "genpkey",
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-out",
    `${root}.key`,
  );
  await ceremony.openssl(
    ...[
      "req",
      "-x509",
      "-new",
      "-key",
      `${root}.key`,
      "-subj",
      "/O=Narrow",
      "-days",
      "99",
      "-out",
      `${root}.pem`,
    ],
    ...["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"],
  );
  const extensions = join(ceremony.directory, "narrow.cnf");
  writeFileSync(extensions, `${[...CA_EXTENSIONS, URI].join("\n")}\n`);
  const csr = (await ceremony.server?.cli("ca", "csr", "-write", `${root}.csr`))?.stdout;
  expect(csr).toBe(`Request written to ${root}.csr\n`);
  await ceremony.openssl(
    ...["x509", "-req", "-in", `${root}.csr`, "-CA", `${root}.pem`, "-CAkey", `${root}.key`],
    ...["-CAcreateserial", "-extfile", extensions, "-out", ceremony.certificate],
  );
}

test("the request survives a restart, kill -9 and the loss of its file", async () => {
  const { server, ceremony } = await waitingServer();
  const request = readFileSync(csrFile(server), "utf8");
  await ceremony.sign();
  await server.daemon.stop();
  await startWaiting(server);
  expect((await server.cli("ca", "csr")).stdout).toBe(request);
  await server.daemon.kill();
  rmSync(csrFile(server));
  await startWaiting(server);
  await eventually("the file is there again", async () => existsSync(csrFile(server)) || undefined);
  expect(readFileSync(csrFile(server), "utf8")).toBe(request);
  // What was signed before all of that still fits.
  expect(await ceremony.importSigned()).toContain("It signs now.");
  await server.daemon.kill();
  await server.start();
  expect(await authority(server, "active")).not.toBe("");
}, 90_000);
