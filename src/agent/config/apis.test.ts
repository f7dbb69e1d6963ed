import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { type ApisConfig, type ApisFlags, apiWarnings, readApis } from "./apis.ts";

function read(text: string, flags: ApisFlags = {}): ApisConfig {
  const problems = new Problems("agent.conf");
  const block = new Block([parseHcl(text, "agent.conf")], "the agent block", problems);
  const trustDomain = TrustDomain.parse("example.org");
  const apis = readApis(block, flags, "/run/spire/public/api.sock", trustDomain, problems);
  block.finish();
  problems.check();
  return apis;
}

test("without any key: the public APIs alone, and nobody is a delegate", () => {
  expect(read("")).toEqual({
    disableWorkloadApi: false,
    disableSdsApi: false,
    authorizedDelegates: [],
    sds: {
      defaultSvidName: "default",
      defaultBundleName: "ROOTCA",
      defaultAllBundlesName: "ALL",
      disableSpiffeCertValidation: false,
    },
  });
});

test("the names of secrets", () => {
  const apis = read(`sds {
    default_svid_name = "my-svid"
    default_bundle_name = "my-bundle"
    default_all_bundles_name = ""
    disable_spiffe_cert_validation = true
  }`);
  expect(apis.sds).toEqual({
    defaultSvidName: "my-svid",
    defaultBundleName: "my-bundle",
    defaultAllBundlesName: "ALL",
    disableSpiffeCertValidation: true,
  });
  expect(apiWarnings(apis)).toEqual([]);
  const same = read('sds { default_bundle_name = "ALL" }');
  expect(apiWarnings(same)).toHaveLength(1);
  expect(() => read('sds { default_name = "x" }')).toThrow("default_name");
});

test.each([
  ["/run/spire/private/admin.sock", "/run/spire/private/admin.sock"],
  ["/run/spire/admin.sock", "/run/spire/admin.sock"],
  ["/run/spire/public-too/admin.sock", "/run/spire/public-too/admin.sock"],
  ["private/admin.sock", resolve("private/admin.sock")],
])("admin_socket_path %s", (path, absolute) => {
  expect(read(`admin_socket_path = "${path}"`).adminSocketPath).toBe(absolute);
});

test.each([
  "/run/spire/public/admin.sock",
  "/run/spire/public/deeper/admin.sock",
  "/run/spire/private/../public/admin.sock",
])("admin_socket_path %s is refused, unless there is no public socket", (path) => {
  const text = `admin_socket_path = "${path}"`;
  const refused =
    "agent.conf:1: admin socket cannot be in the same directory or a subdirectory as that containing the Workload API socket";
  expect(() => read(text)).toThrow(refused);
  expect(() => read(text, { disableWorkloadAPI: true })).toThrow(refused);
  const noPublicSocket = { disableWorkloadAPI: true, disableSDSAPI: true };
  expect(read(text, noPublicSocket).adminSocketPath).toBe(resolve(path));
});

test("a flag goes before the file", () => {
  expect(read("disable_sds_api = true", { disableWorkloadAPI: true })).toMatchObject({
    disableWorkloadApi: true,
    disableSdsApi: true,
  });
  const text = "disable_workload_api = true";
  expect(read(text, { disableWorkloadAPI: false }).disableWorkloadApi).toBe(false);
});

test("delegates are members of the trust domain", () => {
  const ids = ["spiffe://example.org/a", "spiffe://example.org/b"];
  expect(read(`authorized_delegates = ["${ids.join('", "')}"]`).authorizedDelegates).toEqual(ids);
  expect(() => read('authorized_delegates = ["spiffe://other.org/a"]')).toThrow(
    'error validating authorized delegate: SPIFFE ID "spiffe://other.org/a" is not a member of trust domain "example.org"',
  );
  expect(() => read('authorized_delegates = ["a"]')).toThrow(
    "error validating authorized delegate: ",
  );
});
