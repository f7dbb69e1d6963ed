/** A server whose CA a real openssl signs, off the network; the commands are those of docs/OFFLINE-ROOT.md. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { backUp, restore } from "../support/backups.ts";
import { type Ceremony, opensslTime, pluginBlock } from "../support/ceremony.ts";
import { serverBelow } from "../support/nested.ts";
import {
  activeCa,
  CA_EXTENSIONS,
  csrFile,
  startWaiting,
  URI,
  waitingServer,
} from "../support/offline-server.ts";
import { eventually, freePort, run } from "../support/process.ts";
import { ServiceManager } from "../support/service-manager.ts";
import { GO_CLIENT, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("from the first start to a workload's SVID, without a restart", async () => {
  const healthPort = await freePort();
  const notify = join(stage.room("notify"), "socket");
  const systemd = new ServiceManager(notify);
  await eventually("the service manager listens", async () => existsSync(notify) || undefined);
  const { server, ceremony } = await waitingServer(stage, {
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
    async () =>
      agent.daemon.lines.some((line) => line.includes("refuses connections")) || undefined,
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
  const before = await activeCa(server);
  await server.daemon.stop();
  await server.start();
  expect(await activeCa(server)).toBe(before);
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
  const { server, ceremony } = await waitingServer(stage);
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
  const { server, ceremony } = await waitingServer(stage);
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
  const { server, ceremony } = await waitingServer(stage);
  await ceremony.sign();
  const taken = Bun.listen({ hostname: "127.0.0.1", port: server.port, socket: { data() {} } });
  // The server may be gone before the answer is.
  await server.cli("ca", "import", "-cert", ceremony.certificate, "-root", ceremony.root);
  expect(await server.daemon.exited).toBe(1);
  taken.stop(true);
  await server.start();
  expect(await activeCa(server)).not.toBe("");
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

test.each([
  ["RSA", ["RSA", "-pkeyopt", "rsa_keygen_bits:3072"], []],
  [
    "RSA, signing by RSASSA-PSS",
    ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
  ],
  ["Ed25519", ["ED25519"], []],
])(
  "a root with a key of the kind %s",
  async (_kind, key, signature) => {
    const { server, ceremony } = await waitingServer(stage);
    await ceremony.openssl("genpkey", "-algorithm", ...key, "-out", "root.key");
    await ceremony.openssl(
      ...["req", "-config", "ca.cnf", "-x509", "-new", "-days", "3650", "-key", "root.key"],
      ...["-out", ceremony.root],
    );
    await ceremony.openssl("x509", "-in", ceremony.root, "-out", "root.pem");
    await ceremony.carryRequest();
    await ceremony.signWith([...CA_EXTENSIONS, URI], { digest: "default", signature });
    expect(await ceremony.importSigned()).toContain("It signs now.");
    await opensslVerifies(server, ceremony);
  },
  60_000,
);

test("the request survives a restart, kill -9 and the loss of its file", async () => {
  const { server, ceremony } = await waitingServer(stage);
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
  expect(await activeCa(server)).not.toBe("");
}, 90_000);

test("a CA that ends before its successor is signed ends the work of a running server, not the server", async () => {
  const { server, ceremony } = await waitingServer(stage);
  await ceremony.carryRequest();
  await ceremony.signWith([...CA_EXTENSIONS, URI], { until: opensslTime(Date.now() + 6000) });
  const first = await ceremony.importSigned();
  expect(first).toContain("It signs now.");
  await server.daemon.line((line) =>
    line.includes("have the request signed, then import the certificate"),
  );
  await eventually("the CA has ended", async () => {
    const { stderr } = await server.cli("healthcheck");
    return stderr.includes("NOT_SERVING") || undefined;
  });
  const mint = await server.cli("x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/x`);
  expect(mint.stderr).toContain("X509 CA is not available for signing: waiting for CA: csr at ");
  await ceremony.sign();
  expect(await ceremony.importSigned()).toContain("It signs now.");
  // Agents are shown an SVID below the new CA.
  await TestAgent.start(stage, "ours", server);
}, 90_000);

describe("a server below this one", () => {
  const PATHS = [
    { own: 0, root: 1 },
    { own: 1, root: 2 },
  ] as const;
  test.each(PATHS)(
    "where the path length of the CA is $own and that of its root is $root",
    async ({ own, root }) => {
      const { server, ceremony } = await waitingServer(stage);
      await ceremony.openssl(
        ...["req", "-x509", "-new", "-key", "root.key", "-subj", "/O=Wide", "-days", "99"],
        ...["-addext", `basicConstraints=critical,CA:TRUE,pathlen:${root}`, "-out", ceremony.root],
      );
      await ceremony.openssl("x509", "-in", ceremony.root, "-out", "root.pem");
      await ceremony.carryRequest();
      const basic = `basicConstraints = critical, CA:TRUE, pathlen:${own}`;
      await ceremony.signWith([basic, ...CA_EXTENSIONS.slice(1), URI]);
      await ceremony.importSigned();
      const agent = await TestAgent.start(stage, "ours", server);
      const below = await serverBelow(stage, { server, agent }, "below", "ours");
      if (own > 0) return await below.start();
      const daemon = below.launch();
      expect(await daemon.exited).toBe(1);
      expect(daemon.lines.join("\n")).toContain("no CA may be below the CA of this server");
    },
    90_000,
  );
});
