import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Block, Problems } from "./block.ts";
import { filePath } from "./credential.ts";
import { parseHcl } from "./hcl.ts";

const directory = mkdtempSync(join(tmpdir(), "credentials-"));
writeFileSync(join(directory, "upstream-key"), "secret");
afterAll(() => rmSync(directory, { recursive: true }));
const environment = { CREDENTIALS_DIRECTORY: directory };

describe("a path in the configuration", () => {
  test.each(["/etc/key.pem", "key.pem", "", "Credential:x", "./credential:x"])(
    "%j is itself",
    (text) => expect(filePath(text, environment)).toBe(text),
  );

  test("may be that of a credential", () => {
    expect(filePath("credential:upstream-key", environment)).toBe(join(directory, "upstream-key"));
  });

  test.each([
    ["credential:other", environment, `no credential "other" in ${directory}: the unit needs`],
    ["credential:upstream-key", {}, "LoadCredential=upstream-key:PATH"],
    ["credential:upstream-key", { CREDENTIALS_DIRECTORY: "" }, "$CREDENTIALS_DIRECTORY is not set"],
    ["credential:", environment, '"" cannot be the name'],
    ["credential:..", environment, '".." cannot be the name'],
    ["credential:.", environment, '"." cannot be the name'],
    ["credential:../../etc/passwd", environment, "cannot be the name"],
    ["credential:a:b", environment, "cannot be the name"],
    ["credential:a\0b", environment, "cannot be the name"],
    [`credential:${"x".repeat(256)}`, environment, "cannot be the name"],
  ] as const)("%j is refused: %s", (text, variables, why) => {
    expect(() => filePath(text, variables)).toThrow(why);
  });
});

test("outside of a unit a file can be looked at without its credentials, but not run with", () => {
  const text = 'key_file_path = "credential:none"';
  const read = (isFromOutside: boolean): Problems => {
    const problems = new Problems("server.conf", undefined, isFromOutside);
    const block = new Block(
      [parseHcl(text, "server.conf")],
      "the block",
      problems.of("server.conf"),
    );
    expect(block.path("key_file_path")).toBe("credential:none");
    return problems;
  };
  expect(read(true).notes).toEqual([expect.stringContaining("server.conf:1: key_file_path: ")]);
  read(true).check();
  expect(() => read(false).check()).toThrow("$CREDENTIALS_DIRECTORY is not set");
});

test("a key's problem has its line, and a key of several files may have some as credentials", () => {
  const problems = new Problems("server.conf");
  const text =
    '\nkey_file_path = "credential:none"\nca_bundle_paths = ["/a", "credential:upstream-key"]';
  const block = new Block([parseHcl(text, "server.conf")], "the block", problems);
  expect(block.path("key_file_path")).not.toBe("");
  const before = process.env["CREDENTIALS_DIRECTORY"];
  process.env["CREDENTIALS_DIRECTORY"] = directory;
  try {
    expect(block.paths("ca_bundle_paths")).toEqual(["/a", join(directory, "upstream-key")]);
  } finally {
    if (before === undefined) delete process.env["CREDENTIALS_DIRECTORY"];
    else process.env["CREDENTIALS_DIRECTORY"] = before;
  }
  expect(() => problems.check()).toThrow(
    /server\.conf:2: key_file_path: there is no credential "none"/,
  );
});
