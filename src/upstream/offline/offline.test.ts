import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodePem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import type { OfflineUpstreamConfig } from "./config.ts";
import { openOfflineUpstreamAuthority } from "./offline.ts";

const REQUEST = encodePem("CERTIFICATE REQUEST", Uint8Array.of(1, 2, 3));

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "offline-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const path = (name: string): string => join(directory, name);
const open = (config: Partial<OfflineUpstreamConfig> = {}) =>
  openOfflineUpstreamAuthority({
    name: "offline",
    dataDir: directory,
    csrPath: path("csr"),
    warnBeforeSeconds: 3600,
    ...config,
  });

test("the request is for everybody to read; a file that is something else is not removed", async () => {
  const authority = await open();
  await authority.putRequest(REQUEST);
  expect(readFileSync(path("csr"), "utf8")).toBe(REQUEST);
  expect(statSync(path("csr")).mode & 0o777).toBe(0o644);
  await authority.removeRequest();
  expect(existsSync(path("csr"))).toBe(false);
  await authority.removeRequest();
  writeFileSync(path("csr"), "something else");
  await authority.removeRequest();
  expect(readFileSync(path("csr"), "utf8")).toBe("something else");
});

test("roots that are named must be there, and be certificates", async () => {
  const rootCertPath = path("roots");
  const opening = () => open({ rootCertPath }).then(String, ({ message }) => message);
  expect(await opening()).toBe(`root_cert_path: there is no file ${rootCertPath}`);
  writeFileSync(rootCertPath, REQUEST);
  expect(await opening()).toContain("no PEM blocks of type CERTIFICATE");
  writeFileSync(rootCertPath, encodePem("CERTIFICATE", Uint8Array.of(1, 2, 3)));
  expect(await opening()).toContain("malformed certificate");
  writeFileSync(rootCertPath, "x".repeat(300_000));
  expect(await opening()).toContain("larger than");
  expect(await (await open()).trustAnchors()).toBeUndefined();
});

test("what is dropped is told once for as long as it stays the same", async () => {
  const importPath = path("signed");
  const authority = await open({ importPath });
  const { certificate } = await make({ name: "ca", isCa: true });
  expect(await authority.newAnswer()).toBeUndefined();
  writeFileSync(importPath, encodePem("CERTIFICATE", certificate.der));
  expect((await authority.newAnswer())?.map((der) => Buffer.compare(der, certificate.der))).toEqual(
    [0],
  );
  expect(await authority.newAnswer()).toBeUndefined();
  writeFileSync(importPath, "half a file");
  expect(await authority.newAnswer().then(String, ({ message }) => message)).toContain(importPath);
  expect(await authority.newAnswer()).toBeUndefined();
});

test("another configuration is used from then on, or not at all", async () => {
  const authority = await open();
  await authority.putRequest(REQUEST);
  const next = {
    name: "offline",
    dataDir: directory,
    csrPath: path("new"),
    warnBeforeSeconds: 7200,
  } as const;
  const missing = authority.configure({ ...next, rootCertPath: path("missing") });
  expect(await missing.then(String, ({ message }) => message)).toContain("there is no file");
  expect([authority.csrPath, existsSync(path("csr"))]).toEqual([path("csr"), true]);
  await authority.configure(next);
  expect([authority.csrPath, authority.warnBeforeSeconds]).toEqual([path("new"), 7200]);
  expect(existsSync(path("csr"))).toBe(false);
});

test("a pipe, or a file that is far too large, holds up nothing", async () => {
  const importPath = path("signed");
  expect(spawnSync("mkfifo", [importPath]).status).toBe(0);
  const authority = await open({ importPath });
  const looking = () => authority.newAnswer().then(String, ({ message }) => message);
  expect(await looking()).toBe(`${importPath}: is not a regular file`);
  rmSync(importPath);
  writeFileSync(importPath, "");
  truncateSync(importPath, 8 * 1024 ** 3);
  expect(await looking()).toBe(`${importPath}: larger than 262144 bytes`);
});
