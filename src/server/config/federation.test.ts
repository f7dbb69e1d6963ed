import { describe, expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { readFederation } from "./federation.ts";

type Read = ReturnType<typeof readFederation>;

const read = (federation: string): Read => readFile(`federation ${federation}`);

/** @param text the server block's content, in HCL or JSON */
function readFile(text: string): Read {
  const problems = new Problems("server.conf");
  const server = new Block([parseHcl(text, "server.conf")], "the server block", problems);
  const config = readFederation(server, TrustDomain.parse("example.org"), problems);
  problems.check();
  return config;
}

function problemsOf(federation: string): string {
  try {
    read(federation);
  } catch (error) {
    return errorText(error);
  }
  throw new Error("was accepted");
}

const endpoint = (inner: string): string => `{
  bundle_endpoint {
    port = 8443
    ${inner}
  }
}`;
const web = (inner: string): string => endpoint(`profile "https_web" { ${inner} }`);
const files = 'cert_file_path = "c.pem"\n key_file_path = "k.pem"';
const partner = (inner: string, name = "f.org"): string =>
  `{\n federates_with "${name}" {\n ${inner}\n }\n}`;
const URL_KEY = 'bundle_endpoint_url = "https://f.org"';

describe("the bundle endpoint", () => {
  test("has defaults", () => {
    expect(read(endpoint('profile "https_spiffe" {}'))).toEqual({
      bundleEndpoint: { address: "0.0.0.0", port: 8443, refreshHintSeconds: 300 },
      federatesWith: [],
      warnings: [],
    });
  });

  test("takes every key", () => {
    const config = read(`{
      bundle_endpoint {
        address = "::1"
        port = 1
        refresh_hint = "10m"
        profile "https_web" {
          serving_cert_file {
            cert_file_path = "c.pem"
            key_file_path = "k.pem"
            file_sync_interval = "5s"
          }
        }
      }
    }`);
    expect(config.bundleEndpoint).toEqual({
      address: "::1",
      port: 1,
      refreshHintSeconds: 600,
      servingCertificate: {
        certFilePath: "c.pem",
        keyFilePath: "k.pem",
        fileSyncIntervalSeconds: 5,
      },
    });
  });

  test("looks at the certificate files every hour where the reference refuses to start", () => {
    const config = read(web(`serving_cert_file { ${files} }`));
    expect(config.bundleEndpoint?.servingCertificate?.fileSyncIntervalSeconds).toBe(3600);
  });

  test.each([
    ["", "no profile set, using https_spiffe as default"],
    ['refresh_hint = "24h"\n profile "https_spiffe" {}', "set to a high value"],
    ['refresh_hint = "59s"\n profile "https_spiffe" {}', "set too low"],
  ])("with %p it warns", (inner, warning) => {
    expect(read(endpoint(inner)).warnings).toEqual([expect.stringContaining(warning)]);
  });

  test.each([
    [endpoint('refresh_hint = "soon"'), 'server.conf:4: could not parse refresh_hint "soon": time'],
    [endpoint('refresh_hint = "-5m"'), "refresh_hint must not be negative"],
    [endpoint('address = "example.org"'), 'address "example.org" is not an IP address'],
    ["{ bundle_endpoint {} }", "federation.bundle_endpoint.port must be configured"],
    ["{ bundle_endpoint { port = 65536 } }", "port 65536 is not a port number"],
    [
      endpoint('profile "https_spiffe" {}\n profile "https_web" {}'),
      "exactly one bundle endpoint profile is expected",
    ],
    [endpoint("profile {}"), "exactly one bundle endpoint profile is expected"],
    [endpoint('profile "https" {}'), 'unknown bundle endpoint profile "https"'],
    [
      web(""),
      "malformed https_web profile configuration: 'acme' or 'serving_cert_file' is required",
    ],
    [web("serving_cert_file {}"), "serving_cert_file: cert_file_path must be configured"],
    [
      web('serving_cert_file { cert_file_path = "c.pem" }'),
      "serving_cert_file: key_file_path must be configured",
    ],
    [
      web(`serving_cert_file { ${files}\n file_sync_interval = "x" }`),
      'could not parse file_sync_interval "x"',
    ],
    [web('acme { email = "a@b" }'), "acme is not built in; have an ACME client such as certbot"],
    [endpoint("acme {}"), "acme is not built in"],
    [endpoint("adress = 5"), 'unknown configuration detected: key "adress"'],
    ["{ federates = 5 }", 'unknown configuration detected: key "federates"'],
  ])("%p is refused", (text, problem) => {
    expect(problemsOf(text)).toContain(problem);
  });
});

describe("federates_with", () => {
  test("takes both profiles, in HCL and in JSON", () => {
    const config = readFile(`{"federation": {
      "federates_with": {
        "f.org": {
          "bundle_endpoint_url": "https://f.org:8443/x",
          "bundle_endpoint_profile": [{"https_web": {}}]
        },
        "g.org": {
          "bundle_endpoint_url": "HTTPS://g.org",
          "bundle_endpoint_profile": {"https_spiffe": {"endpoint_spiffe_id": "spiffe://h.org/x"}}
        }
      }
    }}`);
    expect(config.federatesWith).toEqual([
      {
        trustDomain: TrustDomain.parse("f.org"),
        bundleEndpointUrl: "https://f.org:8443/x",
        profile: { kind: "https_web" },
      },
      {
        trustDomain: TrustDomain.parse("g.org"),
        bundleEndpointUrl: "https://g.org",
        profile: { kind: "https_spiffe", endpointSpiffeId: SpiffeId.parse("spiffe://h.org/x") },
      },
    ]);
    const hcl = read(partner(`${URL_KEY}\n bundle_endpoint_profile "https_web" {}`));
    expect(hcl.federatesWith[0]?.profile).toEqual({ kind: "https_web" });
  });

  const spiffe = (id: string): string =>
    `${URL_KEY}\n bundle_endpoint_profile "https_spiffe" { ${id} }`;
  test.each([
    [
      'bundle_endpoint_profile "https_web" {}',
      'federation.federates_with["f.org"].bundle_endpoint_url must be configured',
    ],
    [
      'bundle_endpoint_url = "http://f.org"',
      'server.conf:3: federation.federates_with["f.org"].bundle_endpoint_url must use the HTTPS protocol; URL found: "http://f.org"',
    ],
    ['bundle_endpoint_url = "https://me@f.org"', "must not contain user info"],
    [
      URL_KEY,
      'federation configuration for trust domain "f.org": missing bundle endpoint configuration',
    ],
    [
      `${URL_KEY}\n bundle_endpoint_profile {}`,
      'error parsing federation relationship for trust domain "f.org": exactly one bundle endpoint profile is expected',
    ],
    [spiffe(""), "could not get endpoint SPIFFE ID: SPIFFE ID cannot be empty"],
    [spiffe('endpoint_spiffe_id = "f.org"'), "could not get endpoint SPIFFE ID: scheme is missing"],
    [spiffe('id = "spiffe://f.org/x"'), 'unknown configuration detected: key "id"'],
    [`${URL_KEY}\n bundle_endpoint_profile "web" {}`, 'unknown bundle endpoint profile "web"'],
  ])("%p is refused", (inner, problem) => {
    expect(problemsOf(partner(inner))).toContain(problem);
  });

  const whole = `${URL_KEY}\n bundle_endpoint_profile "https_web" {}`;
  test.each([
    ["example.org", "does not federate with its own trust domain"],
    ["F.org", "trust domain characters are limited"],
  ])(
    "with %s is refused: it would replace this server's bundle, or is no trust domain",
    (name, problem) => {
      expect(problemsOf(partner(whole, name))).toContain(problem);
    },
  );

  test("with one trust domain twice is refused", () => {
    const twice = `{ federates_with "f.org" { ${whole} }\n federates_with "f.org" { ${whole} } }`;
    expect(problemsOf(twice)).toContain('["f.org"] is configured more than once');
  });
});
