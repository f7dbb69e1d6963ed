/** Path validation on chains with one defect each, and on those that have more than one way up. */
import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Certificate } from "./certificate.ts";
import { type ChainRequest, verifyAllChains, verifyChain } from "./chain.ts";
import { der, derOid, readDer, Tag } from "./der.ts";
import { authorityKeyIdExtension, KeyUsage, subjectKeyIdExtension } from "./extensions.ts";
import { algorithmIdentifier } from "./issue.ts";
import { Oid } from "./oid.ts";
import { certificatesFromPem } from "./pem.ts";
import { type Made, make, NOW, type Wish } from "./pki.fixture.ts";

const root = await make({ name: "root", isCa: true });
const policy = await make({ name: "policy", isCa: true, issuer: root });
const leaf = await make({ name: "leaf", issuer: policy });

function request(change: Partial<ChainRequest> = {}): ChainRequest {
  return {
    leaf: leaf.certificate,
    intermediates: [policy.certificate],
    roots: [root.certificate],
    atSeconds: NOW,
    usage: "any",
    ...change,
  };
}

const names = (path: readonly Certificate[]): string[] => path.map((one) => one.subjectText);

test("a path is found, leaf first and root last", () => {
  expect(names(verifyChain(request()))).toEqual(["CN=leaf", "CN=policy", "CN=root"]);
});

test("every way to a root is found", async () => {
  const otherRoot = await make({ name: "other root", isCa: true });
  const crossed = await make({ name: "policy", isCa: true, issuer: otherRoot, signer: policy });
  const paths = verifyAllChains(
    request({
      intermediates: [policy.certificate, crossed.certificate],
      roots: [root.certificate, otherRoot.certificate],
    }),
  );
  expect(paths.map((path) => names(path).at(-1)).sort()).toEqual(["CN=other root", "CN=root"]);
});

test("a leaf that is a root itself is a path alone, while its time lasts", () => {
  const alone = { roots: [leaf.certificate], intermediates: [] };
  expect(verifyAllChains(request(alone)).map(names)).toEqual([["CN=leaf"]]);
  expect(() => verifyAllChains(request({ ...alone, atSeconds: NOW + 3601 }))).toThrow(/expired/);
});

test("an authority made anew with another key identifier is still the issuer", async () => {
  const renewed = await make({
    name: "policy",
    isCa: true,
    issuer: root,
    signer: policy,
    keyId: subjectKeyIdExtension(Uint8Array.of(1, 2, 3)),
  });
  expect(verifyChain(request({ intermediates: [renewed.certificate] }))).toHaveLength(3);
  const oddChild = await make({
    name: "leaf",
    issuer: policy,
    issuerKeyId: authorityKeyIdExtension(Uint8Array.of(9)),
  });
  expect(verifyChain(request({ leaf: oddChild.certificate }))).toHaveLength(3);
});

test("the authority with the key that is named is tried first", async () => {
  const strangers = await Promise.all(
    Array.from({ length: 60 }, () => make({ name: "policy", isCa: true, issuer: root })),
  );
  const intermediates = [...strangers, policy].map(({ certificate }) => certificate);
  expect(verifyChain(request({ intermediates }))).toHaveLength(3);
});

test("a stranger's certificates cost a bounded number of signature checks", async () => {
  let checks = 0;
  const intermediates = await Promise.all(
    Array.from({ length: 60 }, async () => {
      const { certificate } = await make({ name: "policy", isCa: true, issuer: root });
      const { publicKey } = certificate;
      const counted = (): typeof publicKey => {
        checks++;
        return publicKey;
      };
      return Object.defineProperty(certificate, "publicKey", { get: counted });
    }),
  );
  const bare = await make({ name: "leaf", issuer: policy, issuerKeyId: new Uint8Array() });
  expect(() => verifyAllChains(request({ leaf: bare.certificate, intermediates }))).toThrow(
    /unknown authority/,
  );
  expect(checks).toBe(50);
});

describe("refused", () => {
  const critical = (oid: string, value: Uint8Array): Uint8Array =>
    der(
      Tag.SEQUENCE,
      derOid(oid),
      der(Tag.BOOLEAN, Uint8Array.of(0xff)),
      der(Tag.OCTET_STRING, value),
    );
  const noNameThatIsRead = critical(
    Oid.subjectAltName,
    der(Tag.SEQUENCE, der(0x88, Uint8Array.of(42, 3))),
  );
  const defects: readonly [string, Partial<Wish>, Partial<Wish>, RegExp][] = [
    ["an expired leaf", { notAfter: NOW - 1 }, {}, /has expired/],
    ["a leaf of the future", { notBefore: NOW + 1 }, {}, /not yet valid/],
    ["an expired authority", {}, { notAfter: NOW - 1 }, /"CN=policy" has expired/],
    ["an issuer that is no authority", {}, { isCa: false }, /not a certificate authority/],
    ["an issuer that may not sign", {}, { usage: 1 }, /may not sign certificates/],
    ["a critical alternative name of no known kind", { more: [noNameThatIsRead] }, {}, /2.5.29.17/],
  ];
  test.each(defects)("%s", async (_what, leafWish, policyWish, why) => {
    const issuer = await make({ name: "policy", isCa: true, issuer: root, ...policyWish });
    const made = await make({ name: "leaf", issuer, ...leafWish });
    const intermediates = [issuer.certificate];
    expect(() => verifyChain(request({ leaf: made.certificate, intermediates }))).toThrow(why);
  });

  const pathLength = (limit: number): Partial<Wish> => {
    const limits = [der(Tag.BOOLEAN, Uint8Array.of(0xff)), der(Tag.INTEGER, Uint8Array.of(limit))];
    return { basicConstraints: critical(Oid.basicConstraints, der(Tag.SEQUENCE, ...limits)) };
  };
  test.each([0, 1])("a path below an authority with room for %i that is longer", async (room) => {
    const top = await make({ name: "top", isCa: true, ...pathLength(room) });
    let issuer = top;
    const between: Certificate[] = [];
    for (let depth = 0; depth <= room + 1; depth++) {
      const made = await make({ name: "leaf", issuer });
      const given = { leaf: made.certificate, intermediates: between, roots: [top.certificate] };
      const verify = (): unknown => verifyChain(request(given));
      if (depth <= room) expect(verify()).toHaveLength(depth + 2);
      else expect(verify).toThrow('path below "CN=top" is longer than its path length allows');
      issuer = await make({ name: `between ${depth}`, isCa: true, issuer });
      between.push(issuer.certificate);
    }
  });

  /** The same certificate in the form that has no extensions. */
  const asVersion1 = async (made: Made, issuer: Made): Promise<Made> => {
    const parts = readDer(made.certificate.tbs, Tag.SEQUENCE);
    parts.next(0xa0);
    const kept = Array.from({ length: 6 }, () => parts.next(parts.peek() ?? 0).bytes);
    const tbs = der(Tag.SEQUENCE, ...kept);
    const algorithm = algorithmIdentifier(issuer.signer.keyType);
    const signature = await issuer.signer.sign(tbs);
    const bits = der(Tag.BIT_STRING, Uint8Array.of(0), signature);
    const certificate = Certificate.parse(der(Tag.SEQUENCE, tbs, algorithm, bits));
    expect(certificate.version).toBe(1);
    return { ...made, certificate };
  };

  test("an authority that does not say that it is one, unless it is a root of a form that cannot", async () => {
    const mute = await make({ name: "mute", isCa: false, usage: KeyUsage.keyCertSign });
    const below = await make({ name: "leaf", issuer: mute });
    const roots = [mute.certificate];
    const given = { leaf: below.certificate, intermediates: [], roots };
    const words = '"CN=mute" is not a certificate authority';
    expect(() => verifyChain(request(given))).toThrow(words);
    const old = await asVersion1(mute, mute);
    expect(verifyChain(request({ ...given, roots: [old.certificate] }))).toHaveLength(2);
    const between = await make({ name: "mute", isCa: true, issuer: root, signer: mute });
    const oldBetween = await asVersion1(between, root);
    const shown = { ...given, intermediates: [oldBetween.certificate], roots: [root.certificate] };
    expect(() => verifyChain(request(shown))).toThrow(words);
  });

  test("an authority of the same name with another key", async () => {
    const other = await make({ name: "policy", isCa: true, issuer: root });
    expect(() => verifyChain(request({ intermediates: [other.certificate] }))).toThrow(
      /unknown authority .*does not verify/,
    );
  });
});

describe("name constraints", () => {
  const constraint = (permitted: Uint8Array[], excluded: Uint8Array[]): Uint8Array => {
    const trees = (tag: number, bases: Uint8Array[]): Uint8Array[] =>
      bases.length === 0 ? [] : [der(tag, ...bases.map((base) => der(Tag.SEQUENCE, base)))];
    const value = der(Tag.SEQUENCE, ...trees(0xa0, permitted), ...trees(0xa1, excluded));
    return der(
      Tag.SEQUENCE,
      derOid(Oid.nameConstraints),
      der(Tag.BOOLEAN, Uint8Array.of(0xff)),
      der(Tag.OCTET_STRING, value),
    );
  };
  const text = (tag: number, value: string): Uint8Array =>
    der(tag, new TextEncoder().encode(value));
  const alternativeNames = (...parts: Uint8Array[]): Uint8Array =>
    der(
      Tag.SEQUENCE,
      derOid(Oid.subjectAltName),
      der(Tag.OCTET_STRING, der(Tag.SEQUENCE, ...parts)),
    );
  const email = (value: string): Uint8Array => text(0x81, value);
  const ip = (...octets: number[]): Uint8Array => der(0x87, Uint8Array.from(octets));
  const NET_10 = ip(10, 0, 0, 0, 255, 0, 0, 0);

  const cases: readonly [string, Uint8Array[], Uint8Array[], Uint8Array, boolean][] = [
    ["an address inside", [NET_10], [], ip(10, 1, 2, 3), true],
    ["an address outside", [NET_10], [], ip(11, 1, 2, 3), false],
    ["an address excluded", [], [NET_10], ip(10, 1, 2, 3), false],
    ["another address family", [NET_10], [], ip(...Array.from({ length: 16 }, () => 10)), false],
    ["no address where addresses are limited", [NET_10], [], email("a@example.org"), true],
    ["a mailbox of the host", [email("example.org")], [], email("a@Example.ORG"), true],
    ["a mailbox below the host", [email("example.org")], [], email("a@b.example.org"), false],
    ["a mailbox below the domain", [email(".example.org")], [], email("a@b.example.org"), true],
    ["the very mailbox", [email("a@example.org")], [], email("a@example.org"), true],
    ["another mailbox", [email("a@example.org")], [], email("A@example.org"), false],
    ["a mailbox excluded", [], [email("example.org")], email("a@example.org"), false],
    ["a constraint on a kind not read", [text(0x88, "x")], [], email("a@example.org"), false],
  ];
  test.each(cases)("%s", async (_what, permitted, excluded, name, accepted) => {
    const issuer = await make({
      name: "policy",
      isCa: true,
      issuer: root,
      more: [constraint(permitted, excluded)],
    });
    const made = await make({ name: "leaf", issuer, more: [alternativeNames(name)] });
    const verify = (): unknown =>
      verifyChain(request({ leaf: made.certificate, intermediates: [issuer.certificate] }));
    if (accepted) expect(verify()).toHaveLength(3);
    else expect(verify).toThrow(/name constraints/);
  });
});

describe("RSASSA-PSS, as openssl signs", () => {
  const sign = (...options: string[]): Certificate => {
    const directory = mkdtempSync(join(tmpdir(), "chain-"));
    try {
      const path = (name: string): string => join(directory, name);
      const openssl = (...words: string[]): unknown =>
        execFileSync("openssl", words, { stdio: "pipe" });
      openssl(
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path("key")],
        ...["-subj", "/CN=pss", "-days", "3650", "-out", path("pem"), "-sigopt"],
        ...["rsa_padding_mode:pss", ...options],
      );
      const [bytes = new Uint8Array()] = certificatesFromPem(readFileSync(path("pem"), "utf8"));
      return Certificate.parse(bytes);
    } finally {
      rmSync(directory, { recursive: true });
    }
  };
  const verify = (certificate: Certificate): Certificate[] =>
    verifyChain({
      leaf: certificate,
      intermediates: [],
      roots: [certificate],
      atSeconds: certificate.notBefore,
      usage: "any",
    });

  test.each([
    ["sha256", "32"],
    ["sha384", "48"],
    ["sha512", "64"],
  ])("with %s", (digest, salt) => {
    const certificate = sign(`-${digest}`, "-sigopt", `rsa_pss_saltlen:${salt}`);
    expect(verify(certificate)).toHaveLength(2);
  });

  test.each([
    ["a short salt", ["-sha256", "-sigopt", "rsa_pss_saltlen:20"]],
    [
      "another digest in the mask",
      ["-sha256", "-sigopt", "rsa_pss_saltlen:32", "-sigopt", "rsa_mgf1_md:sha512"],
    ],
  ])("not with %s", (_what, options) => {
    const certificate = sign(...options);
    expect(() => verify(certificate)).toThrow(/does not verify/);
  });
});
