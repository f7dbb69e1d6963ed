/**
 * The fast path against the rest of the world: random SVIDs of the running server, read by @peculiar/x509, verified by openssl and accepted
 * by go-spiffe.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import "reflect-metadata";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SubjectAlternativeNameExtension, X509Certificate } from "@peculiar/x509";
import { Certificate } from "#x509/certificate.ts";
import { certificatesFromPem, certificatesToPem } from "#x509/pem.ts";
import { run } from "../support/process.ts";
import { GO_CLIENT, Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const COUNT = 100;
const stage = new Stage();
let server: TestServer;
let bundle: string;
let chains: string;

/** Letters that a path segment may have (SPIFFE-ID §2.2). */
const LETTERS = "ABCxyz0189._-";
const pick = (length: number): string =>
  Array.from({ length }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)]).join("");

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  bundle = await server.bundleFile();
  chains = stage.room("chains");
  const mint = async (index: number): Promise<void> => {
    const id = `spiffe://${TRUST_DOMAIN}/w${pick(1 + Math.floor(Math.random() * 40))}w/${index}`;
    const dns = Array.from({ length: index % 3 }, (_, name) => [
      "-dns",
      `host-${index}-${name}.example`,
    ]).flat();
    const ttl = `${60 + Math.floor(Math.random() * 7000)}s`;
    const answer = await server.json("x509", "mint", "-spiffeID", id, "-ttl", ttl, ...dns);
    const chain = (answer["x509_svid"] as string[]).map((der) => Buffer.from(der, "base64"));
    writeFileSync(join(chains, `${index}.pem`), certificatesToPem(chain));
  };
  const queue = Array.from({ length: COUNT }, (_, index) => index);
  const worker = async (): Promise<void> => {
    for (let index = queue.pop(); index !== undefined; index = queue.pop()) await mint(index);
  };
  await Promise.all([worker(), worker(), worker()]);
}, 120_000);

afterAll(() => stage.close(), 60_000);

test("go-spiffe accepts every one", async () => {
  const verified = await run([GO_CLIENT, "verify", bundle, TRUST_DOMAIN, chains]);
  expect(verified.stderr).toBe("");
  expect(JSON.parse(verified.stdout)).toEqual({ verified: COUNT });
});

test("openssl verifies every one", async () => {
  const files = readdirSync(chains).map((name) => join(chains, name));
  const verified = await run(["openssl", "verify", "-x509_strict", "-CAfile", bundle, ...files]);
  expect(verified.stderr).toBe("");
  expect(verified.stdout.match(/: OK$/gm)).toHaveLength(COUNT);
});

test("openssl shows the profile of the reference", async () => {
  const { stdout } = await run([
    "openssl",
    "x509",
    "-noout",
    "-text",
    "-in",
    join(chains, "0.pem"),
  ]);
  expect(stdout).toContain("Version: 3");
  expect(stdout).toContain("Subject: C = US, O = SPIRE");
  expect(stdout).toMatch(
    /Key Usage: critical\s+Digital Signature, Key Encipherment, Key Agreement\s/,
  );
  expect(stdout).toMatch(
    /Extended Key Usage: \s+TLS Web Server Authentication, TLS Web Client Authentication\s/,
  );
  expect(stdout).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
  expect(stdout).toContain("Subject Key Identifier");
  expect(stdout).toContain("Authority Key Identifier");
  expect(stdout).toMatch(/Subject Alternative Name: \s+URI:spiffe:\/\//);
});

test("@peculiar/x509 reads the same out of every one, and verifies it", async () => {
  const [rootDer] = certificatesFromPem(readFileSync(bundle, "utf8"));
  const root = new X509Certificate(Buffer.from(rootDer ?? new Uint8Array()));
  for (const name of readdirSync(chains)) {
    const [der] = certificatesFromPem(readFileSync(join(chains, name), "utf8"));
    const ours = Certificate.parse(der ?? new Uint8Array());
    const theirs = new X509Certificate(Buffer.from(ours.der));
    expect(theirs.serialNumber).toBe(
      ours.serialNumber.toString(16).padStart(theirs.serialNumber.length, "0"),
    );
    expect(theirs.notBefore.getTime() / 1000).toBe(ours.notBefore);
    expect(theirs.notAfter.getTime() / 1000).toBe(ours.notAfter);
    expect(Buffer.compare(new Uint8Array(theirs.publicKey.rawData), ours.publicKeySpki)).toBe(0);
    const names = theirs.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
    expect(names.map(({ value }) => value)).toEqual([...ours.uriSans, ...ours.dnsSans]);
    expect(await theirs.verify({ publicKey: root.publicKey, signatureOnly: true })).toBe(true);
  }
});
