import { describe, expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { errorText } from "#spiffe/status-error.ts";
import { readX509popAgentConfig, type X509popAgentConfig } from "./agent-config.ts";
import { readX509popServerConfig, type X509popServerConfig } from "./server-config.ts";

function read<T>(reader: (data: Block, problems: Problems) => T, text: string): T {
  const problems = new Problems("file.conf");
  const data = new Block([parseHcl(text, "file.conf")], "the plugin_data block", problems);
  const config = reader(data, problems);
  data.finish();
  problems.check();
  return config;
}

function problemsOf(reader: (data: Block, problems: Problems) => unknown, text: string): string {
  try {
    read(reader, text);
    return "";
  } catch (error) {
    return errorText(error);
  }
}

describe("the server's block", () => {
  const server = (text: string): X509popServerConfig => read(readX509popServerConfig, text);
  const data = { PluginName: "x509pop", Fingerprint: "f0", SVIDPathTrimmed: "a/b" };

  test("has the reference's defaults", () => {
    const { agentPathTemplate, ...config } = server('ca_bundle_path = "/ca.pem"');
    expect(config).toEqual({
      name: "x509pop",
      mode: "external_pki",
      caBundlePaths: ["/ca.pem"],
      svidPrefix: "/spire-exchange/",
      maxIntermediates: 4,
      maxRsaKeyBits: 8192,
      verifyClientIp: false,
    });
    expect(agentPathTemplate.execute(data)).toBe("/x509pop/f0");
    expect(server('mode = "spiffe"').agentPathTemplate.execute(data)).toBe("/x509pop/a/b");
  });

  test("takes all keys of the reference", () => {
    const { agentPathTemplate, ...config } = server(`
      mode = "external_pki"
      spiffe_prefix = ""
      ca_bundle_paths = ["/a.pem", "/b.pem"]
      agent_path_template = "/cn/{{ .Fingerprint | upper }}"
      max_intermediates = 1
      max_rsa_key_size = 4096
      verify_client_ip = true`);
    expect(config).toMatchObject({
      caBundlePaths: ["/a.pem", "/b.pem"],
      svidPrefix: "/",
      maxIntermediates: 1,
      maxRsaKeyBits: 4096,
      verifyClientIp: true,
    });
    expect(agentPathTemplate.execute(data)).toBe("/cn/F0");
  });

  const ca = 'ca_bundle_path = "/ca.pem"\n';
  test.each([
    [
      'mode = "pki"\nca_bundle_path = "x"',
      "file.conf:1: .*mode can only be either spiffe or exter",
    ],
    ["", "one of ca_bundle_path or ca_bundle_paths must be configured"],
    [
      `${ca}ca_bundle_paths = ["y"]`,
      "file.conf:2: .*only one of ca_bundle_path or ca_bundle_paths",
    ],
    [`${ca}mode = "spiffe"`, "file.conf:1: .*you can not use ca_bundle_path"],
    [`${ca}max_intermediates = 0`, "file.conf:2: .*max_intermediates must be greater than 0"],
    [`${ca}max_rsa_key_size = -1`, "file.conf:2: .*max_rsa_key_size must be greater than 0"],
    [`${ca}spiffe_prefix = "/a"\nsvid_prefix = "/b"`, "file.conf:3: .*are the same"],
    [`${ca}svidprefix = "/a"`, 'file.conf:2: unknown .*key "svidprefix".*mean "svid_prefix"'],
    [`${ca}agent_path_template = "/{{ nosuch }}"`, 'file.conf:2: .*"nosuch" at character 5 is not'],
    [
      `${ca}agent_path_template = "/{{ .NotBefore }}"`,
      'file.conf:2: .*".NotBefore" at character 5',
    ],
    [`${ca}agent_path_template = "{{ .PluginName"`, "file.conf:2: .*is not closed"],
    [
      `${ca}agent_path_template = "cn/{{ .Fingerprint }}"`,
      "file.conf:2: .*must start with a slash",
    ],
  ])("%j is refused", (text, problem) => {
    expect(problemsOf(readX509popServerConfig, text)).toMatch(new RegExp(problem));
  });
});

describe("the agent's block", () => {
  const agent = (text: string): X509popAgentConfig => read(readX509popAgentConfig, text);

  test("names files", () => {
    expect(
      agent('private_key_path = "/k"\ncertificate_path = "/c"\nintermediates_path = "/i"'),
    ).toEqual({
      name: "x509pop",
      files: { privateKeyPath: "/k", certificatePath: "/c", intermediatesPath: "/i" },
    });
    expect(agent('pkcs12_file_path = "/p"\npkcs12_password_file = "/w"')).toEqual({
      name: "x509pop",
      files: { pkcs12FilePath: "/p", pkcs12PasswordFile: "/w" },
    });
  });

  test.each(["unix:///run/api.sock", "unix:/run/api.sock", "/run/api.sock"])(
    "names the socket %s",
    (socket) => {
      expect(agent(`spiffe_endpoint_socket = "${socket}"`)).toEqual({
        name: "x509pop",
        spiffeSocketPath: "/run/api.sock",
      });
    },
  );

  test.each([
    ["", "private_key_path is required"],
    ['private_key_path = "/k"', "certificate_path is required"],
    ['pkcs12_file_path = "/p"\nprivate_key_path = "/k"', "file.conf:1: .*not both"],
    ['spiffe_endpoint_socket = "tcp://127.0.0.1:1"', "file.conf:1: .*not of the form unix:///PATH"],
    ['private_key_path = "/k"\ncertificate_path = "/c"\nkey = 1', 'file.conf:3: .*key "key"'],
  ])("%j is refused", (text, problem) => {
    expect(problemsOf(readX509popAgentConfig, text)).toMatch(new RegExp(problem));
  });
});
