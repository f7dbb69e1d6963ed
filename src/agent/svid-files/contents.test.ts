import { expect, test } from "bun:test";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { Certificate } from "#x509/certificate.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import type { FilesConfig } from "./config-files.ts";
import { contentsOf, type Material } from "./contents.ts";

const valid = { notBefore: 1_700_000_000, notAfter: 4_000_000_000 };
const [leaf, intermediate, authority, theirs] = await Promise.all(
  ["leaf", "intermediate", "authority", "theirs"].map(async (name) => {
    return (await make({ ...valid, name })).certificate;
  }),
);
const all = [leaf, intermediate, authority, theirs].filter((one) => one !== undefined);
const MODES = { certificates: 0o644, key: 0o600, jwtBundle: 0o640, jwtSvid: 0o400 };
const NONE: FilesConfig = {
  jwtSvids: [],
  includeFederatedDomains: false,
  intermediatesInBundle: false,
  modes: MODES,
};

function material(federated = "spiffe://other.test"): Material {
  return {
    svid: {
      id: SpiffeId.parse("spiffe://example.org/web"),
      hint: "",
      certificates: all.slice(0, 2),
      privateKey: Uint8Array.of(1, 2, 3),
      bundle: all.slice(2, 3),
      federatedBundles: [[federated, all.slice(3)]],
    },
    jwtBundles: { "spiffe://example.org": Buffer.from("own"), [federated]: Buffer.from("other") },
    jwtSvids: new Map([["token", "e30.e30.e30"]]),
  };
}

/** By name: the certificates in the file, by what `make` called them. */
function certificates(
  files: Partial<FilesConfig>,
  name: string,
): readonly (Certificate | undefined)[] {
  const file = contentsOf({ ...NONE, ...files }, material()).find((one) => one.name === name);
  return certificatesFromPem(String(file?.data)).map((der) =>
    all.find((one) => Buffer.compare(one.der, der) === 0),
  );
}

test("the chain goes with the leaf, or into the bundle", () => {
  const names = { certificates: "svid", bundle: "bundle" };
  expect(certificates(names, "svid")).toEqual([leaf, intermediate]);
  expect(certificates(names, "bundle")).toEqual([authority]);
  const moved = { ...names, intermediatesInBundle: true };
  expect(certificates(moved, "svid")).toEqual([leaf]);
  expect(certificates(moved, "bundle")).toEqual([authority, intermediate]);
});

test("bundles of other trust domains have files of their own, or are put with ours where that is asked for", () => {
  expect(certificates({ federatedBundles: "of-%s.pem" }, "of-other.test.pem")).toEqual([theirs]);
  expect(certificates({ bundle: "b", includeFederatedDomains: true }, "b")).toEqual([
    authority,
    theirs,
  ]);
});

test("JWK sets and tokens go out as they came, with their modes", () => {
  const files = { ...NONE, jwtBundle: "jwks", federatedJwtBundles: "%s.jwks" };
  expect(contentsOf(files, material())).toEqual([
    { name: "jwks", data: Buffer.from("own"), mode: 0o640 },
    { name: "other.test.jwks", data: Buffer.from("other"), mode: 0o640 },
    { name: "token", data: "e30.e30.e30", mode: 0o400 },
  ]);
});

test("a trust domain whose name would lead out of the directory gets no file", () => {
  const files = { ...NONE, federatedBundles: "%s" };
  for (const name of ["..", "../x"]) {
    expect(() => contentsOf(files, material(`spiffe://${name}`))).toThrow();
  }
});
