import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSvidFilesConfig } from "./config.ts";

const directory = mkdtempSync(join(tmpdir(), "spire-edge-config-"));
const path = join(directory, "helper.conf");
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function load(text: string) {
  writeFileSync(path, text);
  return loadSvidFilesConfig(path, false);
}

function problems(text: string): string {
  try {
    load(text);
  } catch (error) {
    return error instanceof Error ? error.message.replaceAll(path, "FILE") : String(error);
  }
  return "";
}

const ONE = 'cert_dir = "/c"\nsvid_file_name = "svid.pem"\n';

test("a file of SPIFFE Helper's is one output; what is not said is as there", () => {
  const config = load(`agent_address = "unix:///run/agent.sock"\n${ONE}
    renew_signal = "SIGHUP"
    pid_file_name = "/run/pid"
    include_federated_domains = true
    omit_expired = true`);
  expect(config).toMatchObject({
    socketPath: "/run/agent.sock",
    isDaemon: true,
    outputs: [
      {
        name: "/c",
        directory: "/c",
        choice: {},
        files: {
          certificates: "svid.pem",
          includeFederatedDomains: true,
          modes: { certificates: 0o644, key: 0o600, jwtBundle: 0o600, jwtSvid: 0o600 },
        },
        renewal: { signal: 1, pidFile: "/run/pid", reloadUnits: [], command: [] },
      },
    ],
  });
  expect(config.notes).toEqual([expect.stringContaining("omit_expired is not needed")]);
  expect(load(ONE).socketPath).toBe("/tmp/spire-agent/public/api.sock");
});

test.each([
  ["", "cert_dir must be configured"],
  ['output "a" { svid_file_name = "s" }', 'cert_dir of output "a" must be configured'],
  ['cert_dir = "/c"', "there is nothing to write"],
  [`${ONE}cmd = "ghostunnel"`, "FILE:3: cmd is not supported: this program starts no other"],
  [`${ONE}spiffe_id = "spiffe//x"`, 'FILE:3: spiffe_id "spiffe//x"'],
  [`${ONE}renew_signal = "HUP"\npid_file_name = "/p"`, 'renew_signal "HUP" is no signal'],
  [`${ONE}pid_file_name = "/p"`, "renew_signal goes with pid_file_name or signal_units"],
  [`${ONE}renew_signal = "SIGHUP"`, "renew_signal goes with pid_file_name or signal_units"],
  [`${ONE}renew_command = ["systemctl", "reload", "x"]`, "must begin with the absolute path"],
  [`${ONE}svid_key_file_name = "../key"`, 'svid_key_file_name "../key" is no name of a file'],
  [`${ONE}svid_key_file_name = "..data"`, 'svid_key_file_name "..data" is no name of a file'],
  [`${ONE}svid_key_file_name = "svid.pem"`, "two files have the same name"],
  [`${ONE}key_file_mode = 1000`, "key_file_mode must be between 0001 and 0777"],
  [`${ONE}federated_bundle_file_name = "f.pem"`, "federated_bundle_file_name must have %s once"],
  [`${ONE}pkcs12_file_name = "a.p12"`, "pkcs12_file_name and pkcs12_password_file go together"],
  [`${ONE}pkcs12_file_name = "a"\npkcs12_password_file = "/nowhere"`, "ENOENT"],
  [`${ONE}jwt_svids = [{jwt_audience = "a"}]`, "jwt_svids needs jwt_audience and jwt_svid_file"],
  [`${ONE}jwt_svids = [{jwt_aud = "a"}]`, 'key "jwt_aud" in a jwt_svids block'],
  [`${ONE}cert_dirr = "/c"`, 'did you mean "cert_dir"?'],
  [`output "a" {\n${ONE}}\noutput "b" {\n${ONE}}`, "two outputs have the same cert_dir"],
  [`${ONE}output "a" {\n${ONE}}`, 'unknown configuration detected: key "cert_dir" in the file'],
])("%j: %s", (text, problem) => {
  expect(problems(text)).toContain(problem);
});

test("a key that everybody may read is warned of; a password is never repeated", () => {
  const { warnings } = load(`${ONE}svid_key_file_name = "key"\nkey_file_mode = 0444`);
  expect(warnings).toEqual([expect.stringContaining("lets every user of this machine read")]);
  writeFileSync(join(directory, "password"), "pässword\n");
  const text = `${ONE}pkcs12_file_name = "a"\npkcs12_password_file = "${directory}/password"`;
  expect(problems(text)).toContain("of printable ASCII");
  expect(problems(text)).not.toContain("ssword\n");
});
