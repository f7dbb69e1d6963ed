import { afterAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorText } from "#spiffe/status-error.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { type IdentityFiles, IdentityReader } from "./node-identity.ts";

const directory = mkdtempSync(join(tmpdir(), "node-identity-"));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const root = await make({ name: "root", isCa: true });
const below = await make({ name: "below", isCa: true, issuer: root });
const other = await make({ name: "other", issuer: below });

async function identityFor(publicKey: KeyObject): Promise<string> {
  const publicKeySpki = publicKey.export({ type: "spki", format: "der" });
  const { certificate } = await make({ name: "node", issuer: below, publicKeySpki });
  return certificatesToPem([certificate.der]);
}

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ecCertificate = file("ec.pem", await identityFor(ec.publicKey));
const rsaCertificate = file("rsa.pem", await identityFor(rsa.publicKey));

test.each([
  ["PKCS#8", ecCertificate, ec.privateKey.export({ type: "pkcs8", format: "pem" })],
  ["SEC1", ecCertificate, ec.privateKey.export({ type: "sec1", format: "pem" })],
  ["PKCS#1", rsaCertificate, rsa.privateKey.export({ type: "pkcs1", format: "pem" })],
])("a key in the form of %s", async (_form, certificatePath, key) => {
  const privateKeyPath = file("key", String(key));
  const { privateKey, certificates } = await new IdentityReader({
    privateKeyPath,
    certificatePath,
  }).read();
  expect(privateKey.type).toBe("private");
  expect(certificates).toHaveLength(1);
});

test("intermediates follow the certificate, first those of its own file", async () => {
  const chain = `${await identityFor(ec.publicKey)}${certificatesToPem([below.certificate.der])}`;
  const { certificates } = await new IdentityReader({
    privateKeyPath: file("key", String(ec.privateKey.export({ type: "pkcs8", format: "pem" }))),
    certificatePath: file("chain.pem", chain),
    intermediatesPath: file("more.pem", certificatesToPem([root.certificate.der])),
  }).read();
  expect(certificates.slice(1)).toEqual([
    Buffer.from(below.certificate.der),
    Buffer.from(root.certificate.der),
  ]);
});

test("a PKCS#12 file is opened again only when it holds something else", async () => {
  const key = file("p12.key", String(ec.privateKey.export({ type: "pkcs8", format: "pem" })));
  const path = join(directory, "node.p12");
  const pack = async (...above: readonly Made[]): Promise<void> => {
    const others = certificatesToPem(above.map(({ certificate }) => certificate.der));
    const chain = file("p12.pem", (await identityFor(ec.publicKey)) + others);
    execFileSync("openssl", [
      ...["pkcs12", "-export", "-inkey", key, "-in", chain],
      ...["-passout", "pass:x", "-out", path],
    ]);
  };
  const reader = new IdentityReader({
    pkcs12FilePath: path,
    pkcs12PasswordFile: file("password", "x\n"),
  });
  await pack(below, root);
  const first = await reader.read();
  // The root stays at home.
  expect(first.certificates.slice(1)).toEqual([new Uint8Array(below.certificate.der)]);
  expect(await reader.read()).toBe(first);
  await pack(below);
  const second = await reader.read();
  expect(second.certificates[0]).not.toEqual(first.certificates[0]);
});

describe("refused, naming the file", () => {
  const key = file("good.key", String(ec.privateKey.export({ type: "pkcs8", format: "pem" })));
  const encrypted = ec.privateKey.export({
    ...{ type: "pkcs8", format: "pem" },
    ...{ cipher: "aes-256-cbc", passphrase: "x" },
  } as Parameters<KeyObject["export"]>[0]);
  const cases: readonly [string, IdentityFiles, string][] = [
    [
      "another's certificate",
      {
        privateKeyPath: key,
        certificatePath: file("o", certificatesToPem([other.certificate.der])),
      },
      "does not match the certificate",
    ],
    ["no key", { privateKeyPath: ecCertificate, certificatePath: ecCertificate }, "ec.pem: no PEM"],
    ["no certificate", { privateKeyPath: key, certificatePath: key }, "good.key: no PEM blocks"],
    [
      "an encrypted key",
      { privateKeyPath: file("enc", String(encrypted)), certificatePath: ecCertificate },
      "enc: the private key is encrypted",
    ],
    [
      "intermediates that are none",
      { privateKeyPath: key, certificatePath: ecCertificate, intermediatesPath: key },
      "unable to load intermediate certificates: ",
    ],
    ["no file", { privateKeyPath: join(directory, "none"), certificatePath: key }, "ENOENT"],
    ["a PKCS#12 file that is none", { pkcs12FilePath: key }, "not a PKCS#12 file"],
  ];
  test.each(cases)("%s", async (_what, files, problem) => {
    const outcome = await new IdentityReader(files).read().then(() => "read", errorText);
    expect(outcome).toContain(problem);
    expect(outcome).not.toContain("PRIVATE KEY-----");
  });
});
