import { expect, test } from "bun:test";
import { Certificate } from "./certificate.ts";
import { make } from "./pki.fixture.ts";

const { certificate } = await make({ name: "leaf", uri: "spiffe://example.org/db" });
/** The version, INTEGER 2 within its tag, as it stands in the certificate. */
const VERSION = Buffer.from("a003020102", "hex");

const withVersion = (number: number): Uint8Array => {
  const der = Buffer.from(certificate.der);
  der[der.indexOf(VERSION) + VERSION.length - 1] = number;
  return new Uint8Array(der);
};

test.each([0, 1, 2])("version number %p is counted from 0", (number) => {
  expect(Certificate.parse(withVersion(number)).version).toBe(number + 1);
});

test.each([3, 4, 0x7f, 0xff])("version number %p is no version", (number) => {
  expect(() => Certificate.parse(withVersion(number))).toThrow(
    "malformed certificate: not a certificate of version 1, 2 or 3",
  );
});

test("a certificate longer than any of use is not read", () => {
  const long = new Uint8Array(64 * 1024 + 1);
  expect(() => Certificate.parse(long)).toThrow("malformed certificate: longer than 65536 bytes");
});

test("its key, its issuer and what it says of itself are told apart from another's", () => {
  expect([certificate.isCa, certificate.isSelfIssued]).toEqual([false, true]);
});
