/** Authorities of a running server: what an operator does to them reaches its own TLS certificate, the disk, and the audit log. */
import { afterAll, expect, test } from "bun:test";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { Certificate } from "#x509/certificate.ts";
import { eventually, run } from "../support/process.ts";
import { Stage, TestServer } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/** The subject key ID of what signed the certificate that the server shows. */
function issuerShown({ port }: TestServer): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({
    port,
    host: "127.0.0.1",
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
  });
  socket.once("error", reject);
  socket.once("secureConnect", () => {
    const { raw } = socket.getPeerCertificate(true);
    const { authorityKeyId } = Certificate.parse(new Uint8Array(raw)).extensions;
    resolve(Buffer.from(authorityKeyId ?? new Uint8Array()).toString("hex"));
    socket.destroy();
  });
  return promise;
}

async function order(server: TestServer, ...words: string[]): Promise<string> {
  const answer = await server.cli("localauthority", ...words);
  if (answer.code !== 0) throw new Error(answer.stderr);
  return /Authority ID: (\w+)/.exec(answer.stdout)?.[1] ?? "";
}

/** Prepares and activates an authority; gives its ID. */
async function rotate(server: TestServer, kind: "x509" | "jwt"): Promise<string> {
  const id = await order(server, kind, "prepare");
  return order(server, kind, "activate", "-authorityID", id);
}

async function taintMarks(server: TestServer): Promise<readonly unknown[]> {
  const bundle = await server.json("bundle", "show");
  return ["x509_authorities", "jwt_authorities"].map((key) =>
    (bundle[key] as { tainted: boolean }[]).map(({ tainted }) => tainted),
  );
}

test("a tainted authority is off the server's own certificate at once, and stays tainted", async () => {
  const server = await TestServer.start(stage, "ours", { settings: "audit_log_enabled = true" });
  const first = await order(server, "x509", "show");
  const firstKey = await order(server, "jwt", "show");
  expect(await issuerShown(server)).toBe(first);
  const second = await rotate(server, "x509");
  await rotate(server, "jwt");
  expect(await issuerShown(server)).toBe(first);
  await order(server, "x509", "taint", "-authorityID", first);
  await order(server, "jwt", "taint", "-authorityID", firstKey);
  await eventually("the new certificate", async () =>
    (await issuerShown(server)) === second ? true : undefined,
  );
  const audited = server.daemon.lines.find(
    (line) => line.includes("type=audit") && line.includes("method=TaintX509Authority"),
  );
  expect(audited).toContain(`local_authority_id=${first}`);
  expect(audited).toContain("status=success");

  const marks = await taintMarks(server);
  expect(marks).toEqual([
    [true, false],
    [true, false],
  ]);
  const shown = await server.cli("localauthority", "x509", "show");
  await server.daemon.stop();
  await server.start();
  expect(await taintMarks(server)).toEqual(marks);
  expect((await server.cli("localauthority", "x509", "show")).stdout).toBe(shown.stdout);
  await order(server, "x509", "revoke", "-authorityID", first);
  await order(server, "jwt", "revoke", "-authorityID", firstKey);
  await server.daemon.stop();
  await server.start();
  expect(await taintMarks(server)).toEqual([[false], [false]]);
  expect(await order(server, "x509", "show")).toBe(second);
}, 60_000);

test("an upstream authority that is replaced on disk is noticed by itself", async () => {
  const directory = stage.room("upstream");
  for (const name of ["upstream", "second"]) {
    const { code, stderr } = await run(
      [
        ..."openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3".split(
          " ",
        ),
        ...`-subj /CN=${name} -keyout ${name}.key -out ${name}.pem`.split(" "),
        ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
      ],
      { cwd: directory },
    );
    if (code !== 0) throw new Error(stderr);
  }
  const server = await TestServer.start(stage, "ours", {
    plugins: `UpstreamAuthority "disk" {
  plugin_data {
    cert_file_path = "${join(directory, "upstream.pem")}"
    key_file_path = "${join(directory, "upstream.key")}"
  }
}`,
  });
  const active = await order(server, "x509", "show");
  for (const end of ["key", "pem"]) {
    renameSync(join(directory, `second.${end}`), join(directory, `upstream.${end}`));
  }
  const prepared = await eventually("a CA below the new upstream", async () => {
    const state = await server.json("localauthority", "x509", "show");
    return state["prepared"];
  });
  expect(prepared).toMatchObject({ upstream_authority_subject_key_id: expect.any(String) });
  expect(await order(server, "x509", "show")).toBe(active);
  expect((await taintMarks(server))[0]).toEqual([false, false]);
}, 60_000);
