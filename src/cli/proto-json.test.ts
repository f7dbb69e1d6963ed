import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mapJson, protoJson, structJson } from "./proto-json.ts";

describe("a message", () => {
  test("has sorted snake_case keys, and absent messages are left out", () => {
    expect(
      protoJson({ nextPageToken: "", entries: [], spiffeId: undefined, adminFlag: false }),
    ).toBe('{"admin_flag":false,"entries":[],"next_page_token":""}');
  });

  test("writes 64-bit numbers as strings and others as numbers, at any depth", () => {
    const message = { entries: [{ expiresAt: 2_000_000_000, x509SvidTtl: 16, revisionNumber: 0 }] };
    expect(protoJson(message)).toBe(
      '{"entries":[{"expires_at":"2000000000","revision_number":"0","x509_svid_ttl":16}]}',
    );
    expect(protoJson({ x509svidExpiresAt: 5, x509svidSerialNumber: "9" })).toBe(
      '{"x509svid_expires_at":"5","x509svid_serial_number":"9"}',
    );
  });

  test("writes bytes in base64, in lists and maps as well", () => {
    const bytes = new Uint8Array([251, 255]);
    expect(protoJson({ crl: [bytes], federatedBundles: { "spiffe://aB.org": bytes } })).toBe(
      '{"crl":["+/8="],"federated_bundles":{"spiffe://aB.org":"+/8="}}',
    );
  });

  test("keeps the keys of a map, but not of messages in a list of the same name", () => {
    expect(protoJson({ bundles: [{ refreshHint: 0 }] })).toBe('{"bundles":[{"refresh_hint":"0"}]}');
    expect(
      protoJson({ bundles: { "spiffe://b": new Uint8Array(), "spiffe://a": new Uint8Array() } }),
    ).toBe('{"bundles":{"spiffe://a":"","spiffe://b":""}}');
  });

  test("keeps claims as they are, sorted and without nulls", () => {
    const claims = { expiresAt: 5, aud: ["a"], nested: { b: 1, a: null }, exp: 1.5 };
    expect(protoJson({ claims })).toBe(
      '{"claims":{"aud":["a"],"exp":1.5,"expiresAt":5,"nested":{"b":1}}}',
    );
    expect(mapJson(claims)).toBe('{"aud":["a"],"exp":1.5,"expiresAt":5,"nested":{"b":1}}');
  });

  test("writes a oneof as the field that was chosen, in its place in the order", () => {
    const choice = { $case: "httpsSpiffe", value: { endpointSpiffeId: "spiffe://a" } };
    expect(protoJson({ trustDomain: "a", bundleEndpointProfile: choice, ab: 1 })).toBe(
      '{"ab":1,"https_spiffe":{"endpoint_spiffe_id":"spiffe://a"},"trust_domain":"a"}',
    );
    expect(protoJson({ bundleEndpointProfile: undefined })).toBe("{}");
  });

  test("escapes what a browser could read as markup", () => {
    expect(protoJson({ hint: "<h&>\u2028" })).toBe('{"hint":"\\u003ch\\u0026\\u003e\\u2028"}');
  });
});

test("a struct keeps the order of its keys", () => {
  expect(structJson({ x509_svid: ["b"], private_key: "<" })).toBe(
    '{"x509_svid":["b"],"private_key":"\\u003c"}',
  );
});

test("every 64-bit field of the .proto files is written as a string, and no field of another type", () => {
  const root = join(import.meta.dir, "../../proto/spire");
  const wrong: string[] = [];
  for (const file of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".proto")) continue;
    const text = readFileSync(join(root, file), "utf8");
    for (const [, type = "", name = ""] of text.matchAll(/^\s+(u?int(?:32|64)) (\w+) = /gm)) {
      const camel = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      const quoted = protoJson({ [camel]: 1 }) === `{"${name}":"1"}`;
      if (quoted !== type.endsWith("64")) wrong.push(`${file}: ${type} ${name}`);
    }
  }
  expect(wrong).toEqual([]);
});
