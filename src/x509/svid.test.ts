import { expect, test } from "bun:test";
import { der, derOid, Tag } from "./der.ts";
import { KeyUsage } from "./extensions.ts";
import { make, NOW, type Wish } from "./pki.fixture.ts";
import { verifyX509Svid } from "./svid.ts";

const root = await make({ name: "root", isCa: true, uri: "spiffe://example.org" });
const otherRoot = await make({ name: "root", isCa: true });
const middle = await make({
  name: "middle",
  isCa: true,
  issuer: root,
  uri: "spiffe://example.org",
});
const roots = () => [root.certificate];
const good: Wish = { name: "leaf", issuer: root, uri: "spiffe://example.org/a" };

test.each(["ec-p256", "ec-p384", "rsa-2048"] as const)(
  "a leaf of a %s authority verifies",
  async (keyType) => {
    const authority = await make({ name: keyType, isCa: true, keyType });
    const leaf = await make({ ...good, issuer: authority });
    const verified = verifyX509Svid([leaf.certificate.der], () => [authority.certificate], NOW);
    expect(verified.id.toString()).toBe("spiffe://example.org/a");
  },
);

test("a leaf below an intermediate verifies with it, and not without", async () => {
  const leaf = await make({ ...good, issuer: middle });
  const chain = [leaf.certificate.der, middle.certificate.der];
  expect(verifyX509Svid(chain, roots, NOW).chain).toHaveLength(3);
  expect(() => verifyX509Svid([leaf.certificate.der], roots, NOW)).toThrow("unknown authority");
});

/** X509-SVID §2-4 and RFC 5280: what makes a chain unusable. */
const refused: readonly [string, Wish, string][] = [
  ["§2: no URI SAN", { ...good, uri: undefined as never, dns: ["a.example"] }, "no URI SAN"],
  [
    "§2: a URI that is no SPIFFE ID",
    { ...good, uri: "https://example.org/a" },
    "scheme is missing",
  ],
  [
    "§4.1: a leaf that names a trust domain",
    { ...good, uri: "spiffe://example.org" },
    "names a trust domain",
  ],
  ["§4.1: a leaf that is a CA", { ...good, isCa: true }, "must not have the CA flag"],
  [
    "§4.3: a leaf that may sign certificates",
    { ...good, usage: KeyUsage.digitalSignature | KeyUsage.keyCertSign },
    "keyCertSign",
  ],
  [
    "§4.3: a leaf that may sign CRLs",
    { ...good, usage: KeyUsage.digitalSignature | KeyUsage.cRLSign },
    "cRLSign",
  ],
  [
    "§4.3: a leaf that may not sign",
    { ...good, usage: KeyUsage.keyEncipherment },
    "digitalSignature",
  ],
  ["expired", { ...good, notAfter: NOW - 1 }, "expired"],
  ["not yet valid", { ...good, notBefore: NOW + 1 }, "not yet valid"],
  ["another authority of the same name", { ...good, issuer: otherRoot }, "unknown authority"],
  [
    "an unknown critical extension",
    {
      ...good,
      more: [
        der(
          Tag.SEQUENCE,
          derOid("1.2.3.4"),
          der(Tag.BOOLEAN, Uint8Array.of(0xff)),
          der(Tag.OCTET_STRING),
        ),
      ],
    },
    "unknown critical extension 1.2.3.4",
  ],
];

test.each(refused)("refused: %s", async (_name, wish, why) => {
  const leaf = await make(wish);
  expect(() => verifyX509Svid([leaf.certificate.der], roots, NOW)).toThrow(why);
});

test("refused: an issuer that is no CA", async () => {
  const pretender = await make({ name: "middle", issuer: root, uri: "spiffe://example.org/p" });
  const leaf = await make({ ...good, issuer: pretender });
  expect(() =>
    verifyX509Svid([leaf.certificate.der, pretender.certificate.der], roots, NOW),
  ).toThrow("CA flag");
});

test("refused: an expired intermediate", async () => {
  const old = await make({ name: "old", isCa: true, issuer: root, notAfter: NOW - 1 });
  const leaf = await make({ ...good, issuer: old });
  expect(() => verifyX509Svid([leaf.certificate.der, old.certificate.der], roots, NOW)).toThrow(
    "expired",
  );
});

test("refused: one bit changed anywhere in the certificate", async () => {
  const { certificate } = await make(good);
  for (let at = 0; at < certificate.der.length; at += 7) {
    const bytes = Uint8Array.from(certificate.der);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    expect(() => verifyX509Svid([bytes], roots, NOW)).toThrow();
  }
});

test("refused: a trust domain without a bundle, and an empty chain", async () => {
  const { certificate } = await make(good);
  expect(() => verifyX509Svid([certificate.der], () => undefined, NOW)).toThrow("no bundle");
  expect(() => verifyX509Svid([], roots, NOW)).toThrow("empty");
});
