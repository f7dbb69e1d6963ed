import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keyManagerConformance } from "#keymanager/keymanager.conformance.ts";
import { createLog } from "#log/log.ts";
import { DiskKeyManager } from "./disk.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "keys-"));
  path = join(directory, "keys.json");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function pkcs8(type: "p256" | "p521"): string {
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: type === "p256" ? "P-256" : "P-521",
  });
  return privateKey.export({ type: "pkcs8", format: "der" }).toString("base64");
}

describe("DiskKeyManager", () => {
  keyManagerConformance(() => DiskKeyManager.open(path));

  test("finds its keys again after a restart", async () => {
    const made = await (await DiskKeyManager.open(path)).generateKey("x509-CA-A", "ec-p384");
    const found = (await DiskKeyManager.open(path)).key("x509-CA-A");
    expect(found?.keyType).toBe("ec-p384");
    expect(found?.publicKey.equals(made.publicKey)).toBe(true);
    expect(found?.exportPrivateKeyPem()).toBe(made.exportPrivateKeyPem());
  });

  test("writes all keys made at the same time, for its owner alone, in the reference's layout", async () => {
    const manager = await DiskKeyManager.open(path);
    await Promise.all(["b", "a", "c"].map((name) => manager.generateKey(name, "ec-p256")));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const document = JSON.parse(readFileSync(path, "utf8"));
    expect(Object.keys(document)).toEqual(["keys"]);
    expect(Object.keys(document.keys)).toEqual(["a", "b", "c"]);
    expect(readFileSync(path, "utf8")).toStartWith('{\n\t"keys": {\n\t\t"a": "MI');
  });

  test("reads a file as the reference writes it, one without keys included", async () => {
    writeFileSync(path, JSON.stringify({ keys: { "JWT-Signer-A": pkcs8("p256") } }));
    expect((await DiskKeyManager.open(path)).key("JWT-Signer-A")?.keyType).toBe("ec-p256");
    writeFileSync(path, '{"keys":null}');
    expect((await DiskKeyManager.open(path)).keys()).toEqual([]);
  });

  test.each([
    ["an empty file", ""],
    ["a torn file", '{"keys":{"a":"MIG'],
    ["a list", "[]"],
    ["no keys", "{}"],
    ["a list of keys", '{"keys":[]}'],
    ["a key that is a number", '{"keys":{"a":1}}'],
    ["a key that is not a key", '{"keys":{"a":"U0VDUkVU"}}'],
    ["a key of an unsupported kind", JSON.stringify({ keys: { a: pkcs8("p521") } })],
  ])("refuses %s by the file's name and leaves it as it is", async (_what, text) => {
    writeFileSync(path, text);
    const error = await DiskKeyManager.open(path).then(
      () => undefined,
      (caught: unknown) => caught,
    );
    expect(String(error)).toContain(`keys file ${path}: `);
    // The directory's random name may hold any letters; what follows it may not.
    const said = String(error).replaceAll(path, "");
    expect(said).not.toContain("MI");
    expect(said).not.toContain("U0VDUkVU");
    expect(readFileSync(path, "utf8")).toBe(text);
  });

  test("closes a file that was open to others, and says so", async () => {
    await (await DiskKeyManager.open(path)).generateKey("a", "ec-p256");
    chmodSync(path, 0o644);
    const lines: string[] = [];
    const log = createLog({ level: "info", format: "text" }, () => 0, {
      write: (line) => void lines.push(line),
    });
    await DiskKeyManager.open(path, log);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(lines.join("")).toContain("open to others");
    await DiskKeyManager.open(path, log);
    expect(lines).toHaveLength(1);
  });

  test("deletes the draft of a writer that was killed, for it holds keys", async () => {
    writeFileSync(`${path}.4711-0.new`, "half a draft");
    await DiskKeyManager.open(path);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("does not hand out a key it could not store, and goes on with those it has", async () => {
    const manager = await DiskKeyManager.open(path);
    const kept = await manager.generateKey("a", "ec-p256");
    rmSync(path);
    mkdirSync(join(path, "in-the-way"), { recursive: true });
    await expect(manager.generateKey("a", "ec-p256")).rejects.toThrow();
    expect(manager.key("a")).toBe(kept);
    rmSync(path, { recursive: true });
    await manager.generateKey("b", "ec-p256");
    expect((await DiskKeyManager.open(path)).keys()).toHaveLength(2);
  });
});
