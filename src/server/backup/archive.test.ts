import { afterEach, beforeEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { archiveBytes, describePart, type Extracted, extractArchive } from "./archive.ts";
import type { Manifest } from "./manifest.ts";
import { tarEnd, tarHeader, tarPadding } from "./tar.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "archive-"));
  path = join(directory, "backup");
});
afterEach(() => rmSync(directory, { recursive: true }));

const keys = Buffer.from(`{"keys": {}}`);
/** Of more than one piece, and not to be compressed. */
const database = Buffer.concat(
  Array.from({ length: 5000 }, (_, n) => createHash("sha256").update(String(n)).digest()),
);

async function manifestOf(parts: Record<string, Uint8Array>): Promise<Manifest> {
  return {
    programVersion: "1.2.3",
    schemaVersion: 4,
    trustDomain: "example.org",
    createdAt: 1_800_000_000,
    keyManager: "disk",
    parts: await Promise.all(Object.entries(parts).map(([name, one]) => describePart(name, one))),
  };
}

async function write(passphrase?: string): Promise<Manifest> {
  const parts = { "keys.json": keys, "datastore.sqlite3": database };
  const manifest = await manifestOf(parts);
  const bytes = await Array.fromAsync(archiveBytes(manifest, [keys, database], passphrase));
  writeFileSync(path, Buffer.concat(bytes));
  return manifest;
}

let extractions = 0;
const extract = (passphrase?: string): Promise<Extracted> =>
  extractArchive(path, passphrase, join(directory, `database-${extractions++}`));

async function refusal(passphrase?: string): Promise<string> {
  return extract(passphrase).then(
    () => "not refused",
    (error: unknown) => String(error),
  );
}

/** Gives the file a checksum that fits, as whoever changes it on purpose would. */
function withNewChecksum(bytes: Buffer): Buffer {
  const before = bytes.subarray(0, -40);
  const digest = createHash("sha256").update(before).digest();
  return Buffer.concat([before, bytes.subarray(-40, -32), digest]);
}

test.each([undefined, "secret"])(
  "what was written comes back, with passphrase %p",
  async (passphrase) => {
    const manifest = await write(passphrase);
    const extracted = await extract(passphrase);
    const isEncrypted = passphrase !== undefined;
    expect(extracted).toEqual({ manifest, isEncrypted, keys, configuration: undefined });
    const copy = join(directory, `database-${extractions - 1}`);
    expect(readFileSync(copy).equals(database)).toBe(true);
    expect(statSync(copy).mode & 0o777).toBe(0o600);
  },
);

test("with a passphrase nothing of the keys can be seen, and it is asked for", async () => {
  await write("secret");
  expect(await refusal()).toContain(`backup ${path}: it is encrypted`);
  expect(await refusal("other")).toContain("the passphrase is not the one");
});

test("tar and zstd read it, where there is no passphrase", async () => {
  await write();
  const listed = Bun.spawnSync(["tar", "--zstd", "-tf", path]);
  expect(listed.stdout.toString()).toBe("manifest.json\nkeys.json\ndatastore.sqlite3\n");
  expect(listed.exitCode).toBe(0);
});

test("no byte can change, and none be missing at the end", async () => {
  await write();
  const bytes = readFileSync(path);
  const places = [
    ...Array(60).keys(),
    ...Array.from({ length: 60 }, (_, n) => bytes.length - 1 - n),
  ];
  for (let at = 100; at < bytes.length - 100; at += 4001) places.push(at);
  for (const at of places) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1 << (at % 8);
    writeFileSync(path, damaged);
    expect({ at, told: /is damaged|bytes are damaged/.test(await refusal()) }).toEqual({
      at,
      told: true,
    });
  }
  for (const length of [0, 1, 39, 40, 41, 1000, bytes.length - 41, bytes.length - 1]) {
    writeFileSync(path, bytes);
    truncateSync(path, length);
    expect({ length, refusal: await refusal() }).not.toEqual({ length, refusal: "not refused" });
  }
  writeFileSync(path, Buffer.concat([bytes, bytes]));
  expect(await refusal()).not.toBe("not refused");
}, 60_000);

test("a change on purpose, with a checksum that fits, shows all the same", async () => {
  await write();
  const bytes = readFileSync(path);
  for (let at = 8; at < bytes.length - 40; at += 1009) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1;
    writeFileSync(path, withNewChecksum(changed));
    expect({ at, refusal: await refusal() }).not.toEqual({ at, refusal: "not refused" });
  }
  await write("secret");
  const sealed = readFileSync(path);
  for (const at of [90, 5000, sealed.length - 41]) {
    const changed = Buffer.from(sealed);
    changed[at]! ^= 1;
    writeFileSync(path, withNewChecksum(changed));
    expect(await refusal("secret")).toContain("it was changed since it was encrypted");
  }
}, 60_000);

/** A file as somebody who knows the format would make it. */
function forge(files: readonly (readonly [string, Uint8Array])[], after = tarEnd()): void {
  const blocks = files.flatMap(([name, bytes]) => [
    tarHeader({ name, bytes: bytes.length, modifiedAt: 0 }),
    bytes,
    tarPadding(bytes.length),
  ]);
  const compressed = zstdCompressSync(Buffer.concat([...blocks, after]));
  writeFileSync(path, withNewChecksum(Buffer.concat([compressed, readTrailer()])));
}

function readTrailer(): Buffer {
  return Buffer.concat([Buffer.from("5e2a4d1820000000", "hex"), Buffer.alloc(32)]);
}

test("only the parts that a backup has are taken, each once and in order", async () => {
  const { formatManifest } = await import("./manifest.ts");
  const good = { "keys.json": keys, "datastore.sqlite3": database };
  const listed = formatManifest(await manifestOf(good));
  forge([["manifest.json", listed], ...Object.entries(good)]);
  expect(await refusal()).toBe("not refused");

  for (const names of [
    ["keys.json"],
    ["../keys.json", "datastore.sqlite3"],
    ["datastore.sqlite3", "keys.json"],
    ["keys.json", "keys.json", "datastore.sqlite3"],
  ]) {
    const parts = await Promise.all(names.map((name) => describePart(name, keys)));
    const manifest = formatManifest({ ...(await manifestOf(good)), parts });
    forge([["manifest.json", manifest], ...names.map((name) => [name, keys] as const)]);
    expect(await refusal()).toContain("its manifest is not as it was written");
  }
  forge([
    ["manifest.json", listed],
    ["datastore.sqlite3", database],
  ]);
  expect(await refusal()).toContain("its part keys.json is missing");
  forge([
    ["manifest.json", listed],
    ["keys.json", Buffer.from("{}")],
    ["datastore.sqlite3", database],
  ]);
  expect(await refusal()).toContain("its part keys.json is not what the manifest says");
  forge([["manifest.json", Buffer.alloc(5_000_000)]]);
  expect(await refusal()).toContain("its part manifest.json is too large");
  forge([["manifest.json", listed], ...Object.entries(good)], Buffer.alloc(2048));
  expect(await refusal()).toContain("something follows its end");
  forge([["manifest.json", listed], ...Object.entries(good)], Buffer.alloc(512));
  expect(await refusal()).toContain("it ends too early");
});

test("a backup of a later format is told by its version", async () => {
  const { formatManifest } = await import("./manifest.ts");
  const text = formatManifest(await manifestOf({ "datastore.sqlite3": database })).toString();
  forge([
    ["manifest.json", Buffer.from(text.replace(`"format_version": 1`, `"format_version": 2`))],
  ]);
  expect(await refusal()).toContain("format version 2, this spire-server knows versions up to 1");
});
