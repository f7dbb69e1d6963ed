import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { createLog } from "#log/log.ts";
import { identity, type TestIdentity } from "./endpoints.fixture.ts";
import { loadServingCertificate, watchServingCertificate } from "./serving-certificate.ts";

let first: TestIdentity;
let second: TestIdentity;
beforeAll(async () => {
  first = await identity({ name: "first" });
  second = await identity({ name: "second", keyType: "rsa-2048" });
});

let directory: string;
const files = (): Parameters<typeof loadServingCertificate>[0] => ({
  certFilePath: join(directory, "cert.pem"),
  keyFilePath: join(directory, "key.pem"),
  fileSyncIntervalSeconds: 60,
});
const write = (certificateChainPem: string, privateKeyPem: string): void => {
  writeFileSync(files().certFilePath, certificateChainPem);
  writeFileSync(files().keyFilePath, privateKeyPem);
};
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "spire-serving-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("loading", () => {
  test("gives the pair as it is in the files", async () => {
    write(first.certificateChainPem, first.privateKeyPem);
    expect(await loadServingCertificate(files())).toEqual(first);
  });

  const problem = (): Promise<string> =>
    loadServingCertificate(files()).then(
      () => "",
      (error: Error) => error.message,
    );

  test("says which file is wrong, and never what is in it", async () => {
    expect(await problem()).toMatch(/^failed to load certificate: .*(cert|key)\.pem/);
    write("", first.privateKeyPem);
    expect(await problem()).toMatch(/cert\.pem: /);
    write(first.certificateChainPem, "");
    expect(await problem()).toMatch(/key\.pem: no PEM block of a private key found/);
    write(first.certificateChainPem, second.privateKeyPem);
    expect(await problem()).toMatch(/the key in .*key\.pem is not that of the certificate in/);
    expect(await problem()).not.toContain(second.privateKeyPem.split("\n")[1] ?? "");
  });
});

test("watching takes a new pair whole, and says once what it cannot take", async () => {
  const clock = new ManualClock();
  const logged: string[] = [];
  const log = createLog({ level: "info", format: "text" }, () => 0, {
    write: (line) => void logged.push(line),
  });
  write(first.certificateChainPem, first.privateKeyPem);
  const shown: TestIdentity[] = [];
  const show = (one: TestIdentity): void => void shown.push(one);
  const watch = watchServingCertificate(files(), first, show, { clock, log });
  const look = async (): Promise<void> => {
    expect(await clock.untilNext()).toBe(60_000);
    clock.pass(60_000);
    await clock.untilNext();
  };
  await look();
  expect([shown, logged]).toEqual([[], []]);
  write(second.certificateChainPem, first.privateKeyPem);
  await look();
  await look();
  expect(shown).toEqual([]);
  expect(logged).toEqual([expect.stringContaining("Could not reload the certificate")]);
  write(second.certificateChainPem, second.privateKeyPem);
  await look();
  await look();
  expect(shown).toEqual([second]);
  await watch.stop();
});
