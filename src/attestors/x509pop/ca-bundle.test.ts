import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { CaBundle } from "./ca-bundle.ts";

const directory = mkdtempSync(join(tmpdir(), "ca-bundle-"));
afterAll(() => rmSync(directory, { recursive: true }));

const logged: string[] = [];
const log = createLog({ level: "info", format: "text" }, () => 0, {
  write: (line) => void logged.push(line),
});
const path = (name: string): string => join(directory, name);
const put = (name: string, ...made: readonly Made[]): void =>
  writeFileSync(path(name), certificatesToPem(made.map(({ certificate }) => certificate.der)));
const one = await make({ name: "one", isCa: true });
const two = await make({ name: "two", isCa: true });
const three = await make({ name: "three", isCa: true });
const names = async (bundle: CaBundle): Promise<string[]> =>
  (await bundle.roots()).map(({ subjectText }) => subjectText);

test("what the files hold is read when they change, and only then", async () => {
  put("a", one);
  put("b", two);
  const bundle = await CaBundle.open([path("a"), path("b")], log);
  const first = await bundle.roots();
  expect(await names(bundle)).toEqual(["CN=one", "CN=two"]);
  expect(await bundle.roots()).toBe(first);
  put("b", two, three);
  expect(await names(bundle)).toEqual(["CN=one", "CN=two", "CN=three"]);
  writeFileSync(path("b"), "-----BEGIN CERTIFICATE-----");
  expect(await names(bundle)).toEqual(["CN=one", "CN=two", "CN=three"]);
  expect(logged.join("")).toContain("Failed to reload");
  unlinkSync(path("b"));
  expect(await names(bundle)).toHaveLength(3);
  put("b", three);
  expect(await names(bundle)).toEqual(["CN=one", "CN=three"]);
});

test("what cannot be read at start is refused with its name", async () => {
  writeFileSync(path("empty"), "");
  for (const name of ["empty", "none"]) {
    const outcome = await CaBundle.open([path(name)], log).then(
      () => "opened",
      (error: unknown) => String(error),
    );
    expect(outcome).toContain(`unable to load trust bundle "${path(name)}"`);
  }
});
