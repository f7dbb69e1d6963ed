import { beforeAll, expect, test } from "bun:test";
import { X509SVIDResponse } from "#proto/spiffe/workload/workload.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { privateKeyToPkcs8Der } from "#x509/keys.ts";
import { type Made, make, NOW } from "#x509/pki.fixture.ts";
import { type WorkloadSvid, workloadSvidFrom } from "./workload-svid.ts";

const ID = "spiffe://example.org/below";

let root: Made;
let leaf: Made;
beforeAll(async () => {
  root = await make({ name: "root", isCa: true });
  leaf = await make({ name: "leaf", issuer: root, uri: ID });
});

const svidOf = (made: Made, bundle: Made = root): object => ({
  spiffeId: ID,
  x509Svid: made.certificate.der,
  x509SvidKey: privateKeyToPkcs8Der(made.key),
  bundle: bundle.certificate.der,
});

function read(trustDomain: string, ...svids: object[]): WorkloadSvid {
  const response = X509SVIDResponse.fromPartial({ svids });
  return workloadSvidFrom(response, TrustDomain.parse(trustDomain), NOW);
}

test("the first SVID counts", async () => {
  const second = await make({ name: "x", issuer: root, uri: "spiffe://example.org/x" });
  const svid = read("example.org", svidOf(leaf), svidOf(second));
  expect(svid.id.toString()).toBe(ID);
  expect(svid.privateKeyPem).toStartWith("-----BEGIN PRIVATE KEY-----\n");
  expect([svid.chain, svid.roots].map(({ length }) => length)).toEqual([1, 1]);
});

test("what cannot be used is refused, without a word on the key", async () => {
  const stranger = await make({ name: "stranger", isCa: true });
  expect(() => read("example.org")).toThrow("the Workload API gave no X509-SVID");
  expect(() => read("other.org", svidOf(leaf))).toThrow(
    `the Workload API gave "${ID}", which is not in the trust domain "other.org" of this server`,
  );
  expect(() => read("example.org", svidOf(leaf, stranger))).toThrow("unknown authority");
  const keyless = { ...svidOf(leaf), x509SvidKey: new Uint8Array() };
  expect(() => read("example.org", keyless)).toThrow("no private key");
});
