/** SVIDs as files, by `spire-agent svid-files` beside a server and an agent. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { readPkcs12 } from "#x509/pkcs12.ts";
import { type Daemon, eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const WEB = "spiffe://example.org/web";
const OTHER = "spiffe://example.org/other";
const AGENT = executable("ours", "spire-agent");
const TIMEOUT_MS = 60_000;

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server);
  const selectors = [`unix:uid:${process.getuid?.()}`];
  await server.entry(OTHER, agent.id, selectors, "-hint", "other");
  await server.entry(WEB, agent.id, selectors, "-x509SVIDTTL", "6", "-hint", "web");
}, TIMEOUT_MS);

afterAll(() => stage.close(), TIMEOUT_MS);

/** A configuration in a directory of its own. */
function configured(text: (directory: string) => string): { directory: string; path: string } {
  const directory = stage.room("svid-files");
  const path = join(directory, "helper.conf");
  writeFileSync(path, `agent_address = "${agent.socket}"\n${text(directory)}`);
  return { directory, path };
}

const launch = (directory: string, path: string): Daemon =>
  stage.daemon([AGENT, "svid-files", "-config", path], join(directory, "log"));

const NAMES = `
  svid_file_name = "svid.pem"
  svid_key_file_name = "svid_key.pem"
  svid_bundle_file_name = "svid_bundle.pem"
`;

/** Key and certificate of one directory belong together, and the certificate is the named one's. */
function checkPair(directory: string, id: string): X509Certificate {
  const certificate = new X509Certificate(readFileSync(join(directory, "svid.pem")));
  expect(certificate.subjectAltName).toBe(`URI:${id}`);
  const key = createPrivateKey(readFileSync(join(directory, "svid_key.pem")));
  expect(certificate.checkPrivateKey(key)).toBe(true);
  return certificate;
}

test(
  "a file of SPIFFE Helper's writes the first SVID, bundle and token once, and ends",
  async () => {
    const { directory, path } = configured(
      (at) => `cert_dir = "${at}/certs"
        daemon_mode = false
        cert_file_mode = 0444
        key_file_mode = 0400
        hint = "web"
        ${NAMES}
        jwt_svids = [{jwt_audience="one", jwt_extra_audiences=["two"], jwt_svid_file_name="jwt.token"}]
        jwt_bundle_file_name = "jwt_bundle.json"`,
    );
    const { code, stdout, stderr } = await run([AGENT, "svid-files", "-config", path]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const certs = join(directory, "certs");
    const certificate = checkPair(certs, WEB);
    const authority = new X509Certificate(readFileSync(join(certs, "svid_bundle.pem")));
    expect(certificate.verify(authority.publicKey)).toBe(true);
    const modes = ["svid.pem", "svid_key.pem", "jwt.token"].map(
      (name) => statSync(join(certs, name)).mode & 0o777,
    );
    expect(modes).toEqual([0o444, 0o400, 0o600]);
    const token = readFileSync(join(certs, "jwt.token"), "utf8");
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    expect(claims).toMatchObject({ sub: WEB, aud: ["one", "two"] });
    const { keys } = JSON.parse(readFileSync(join(certs, "jwt_bundle.json"), "utf8"));
    expect(keys[0]).toMatchObject({ kty: "EC" });
    expect(stdout).not.toContain(token);
    expect(stdout).not.toContain("PRIVATE KEY");
  },
  TIMEOUT_MS,
);

test(
  "outputs choose their SVID; files belong to whom they are for; PKCS#12 has the chain",
  async () => {
    const { directory, path } = configured((at) => {
      writeFileSync(join(at, "password"), "sesame\n", { mode: 0o600 });
      return `daemon_mode = false
      output "web" {
        spiffe_id = "${WEB}"
        cert_dir = "${at}/web"
        ${NAMES}
        user = "1234"
        group = "daemon"
        key_file_mode = 0640
        pkcs12_file_name = "svid.p12"
        pkcs12_password_file = "${at}/password"
      }
      output "other" {
        hint = "other"
        cert_dir = "${at}/other"
        combined_file_name = "combined.pem"
      }`;
    });
    expect(await run([AGENT, "svid-files", "-config", path])).toMatchObject({
      code: 0,
      stderr: "",
    });
    checkPair(join(directory, "web"), WEB);
    const { uid, gid, mode } = statSync(join(directory, "web/svid_key.pem"));
    expect([uid, gid, mode & 0o777]).toEqual([1234, 1, 0o640]);
    const { certificate, privateKey } = await readPkcs12(
      readFileSync(join(directory, "web/svid.p12")),
      "sesame",
    );
    const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "der" });
    expect(Buffer.from(certificate.publicKeySpki)).toEqual(publicKey);
    const combined = readFileSync(join(directory, "other/combined.pem"), "utf8");
    const leaf = new X509Certificate(combined);
    expect(leaf.subjectAltName).toBe(`URI:${OTHER}`);
    expect(leaf.checkPrivateKey(createPrivateKey(combined))).toBe(true);
  },
  TIMEOUT_MS,
);

test(
  "through rotations no reader finds a key beside another certificate, and everybody is told of each",
  async () => {
    const { directory, path } = configured(
      (at) => `spiffe_id = "${WEB}"
        cert_dir = "${at}/certs"
        ${NAMES}
        jwt_svids = [{jwt_audience="one", jwt_svid_file_name="jwt.token"}]
        renew_command = ["/bin/sh", "-c", "echo renewed >>$0", "${at}/renewed"]
        renew_signal = "SIGUSR1"
        pid_file_name = "${at}/pid"`,
    );
    const signalled = join(directory, "signalled");
    const script = `trap 'echo signal >>${signalled}' USR1; echo $$ >${directory}/pid; while :; do sleep 0.1; done`;
    const service = stage.daemon(["sh", "-c", script], join(directory, "service.log"));
    await eventually("its pid", async () => existsSync(join(directory, "pid")) || undefined);
    const writer = launch(directory, path);
    const current = join(directory, "certs/..data");
    await eventually("the first files", async () => existsSync(current) || undefined);
    const serials = new Set<string>();
    await eventually("three certificates", async () => {
      serials.add(checkPair(realpathSync(current), WEB).serialNumber);
      return serials.size >= 3 || undefined;
    });
    const lines = (file: string): number =>
      existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
    await eventually("all are told", async () => {
      const told = [lines(join(directory, "renewed")), lines(signalled)];
      return told.every((count) => count >= 3) || undefined;
    });
    expect(await writer.stop()).toBe(0);
    const before = lines(join(directory, "renewed"));
    const written = writer.lines.filter((line) => line.includes("Files written")).length;
    // A token alone, which comes anew all the time, is no reason to reload a service.
    expect(before).toBe(written);
    await service.kill();
  },
  TIMEOUT_MS,
);

test(
  "after a restart nobody is told again, but for files that nobody was told of",
  async () => {
    const { directory, path } = configured(
      (at) => `hint = "other"\ncert_dir = "${at}/certs"\n${NAMES}\ndaemon_mode = false
        renew_command = ["/bin/sh", "-c", "echo renewed >>$0", "${at}/renewed"]`,
    );
    const renewals = async (): Promise<number> => {
      expect(await run([AGENT, "svid-files", "-config", path])).toMatchObject({ code: 0 });
      return readFileSync(join(directory, "renewed"), "utf8").split("\n").length - 1;
    };
    expect([await renewals(), await renewals()]).toEqual([1, 1]);
    // As if it had been killed after it wrote, before it told.
    rmSync(join(directory, "certs/..announced"));
    expect([await renewals(), await renewals()]).toEqual([2, 2]);
  },
  TIMEOUT_MS,
);

test(
  "it waits for an agent that is not there yet, and survives one that is started anew",
  async () => {
    await agent.daemon.stop();
    const { directory, path } = configured(
      (at) => `spiffe_id = "${WEB}"\ncert_dir = "${at}/certs"\n${NAMES}`,
    );
    const writer = launch(directory, path);
    await writer.line((line) => line.includes("The agent gives no X509-SVID"));
    await agent.start();
    await writer.line((line) => line.includes("Files written"));
    const first = checkPair(join(directory, "certs"), WEB).serialNumber;
    await agent.daemon.stop();
    await agent.start();
    await eventually("another certificate", async () => {
      return checkPair(join(directory, "certs/..data"), WEB).serialNumber !== first || undefined;
    });
    expect(await writer.stop()).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  "an SVID that it does not get, and a directory that others may change, are named",
  async () => {
    const absent = configured(
      (at) => `spiffe_id = "spiffe://example.org/absent"\ncert_dir = "${at}/certs"\n${NAMES}`,
    );
    const writer = launch(absent.directory, absent.path);
    const line = await writer.line((one) => one.includes("The agent serves no such SVID"));
    expect(line).toContain(WEB);
    await writer.stop();
    const open = configured((at) => {
      mkdirSync(join(at, "certs"), { mode: 0o777 });
      return `cert_dir = "${at}/certs"\n${NAMES}`;
    });
    await run(["chmod", "777", join(open.directory, "certs")]);
    const refused = await run([AGENT, "svid-files", "-config", open.path]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`${open.directory}/certs can be changed by other users`);
  },
  TIMEOUT_MS,
);
