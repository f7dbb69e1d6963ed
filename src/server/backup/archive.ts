/**
 * The file of a backup: a tar archive, compressed with zstd, encrypted if there is a passphrase, and a checksum at the end. Without a
 * passphrase, `tar --zstd -xf` reads it. docs/BACKUP.md describes it.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline, Readable, type Transform } from "node:stream";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { writeError } from "#files/write-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import { ByteSource, DamageError } from "./byte-source.ts";
import { checkedLength, piecesOf, withChecksum } from "./checksum.ts";
import {
  CONFIGURATION_NAME,
  formatManifest,
  KEYS_NAME,
  MANIFEST_NAME,
  type Manifest,
  type ManifestPart,
  parseManifest,
} from "./manifest.ts";
import { SEAL_MAGIC, seal, unseal, WrongPassphraseError } from "./seal.ts";
import { readTarEnd, readTarHeader, skipTarPadding, tarEnd, tarHeader, tarPadding } from "./tar.ts";

const ZSTD_MAGIC: Buffer = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const PIECE_BYTES = 64 * 1024;
/** Of what is read into memory. A manifest has some hundred bytes, a file of keys some thousand. */
const MAX_SMALL_PART_BYTES = 4 * 1024 * 1024;

/** Bytes in memory, or a file of which all is read. */
export type PartContent = Uint8Array | FileHandle;

/** Size and hash of a part. */
export async function describePart(name: string, content: PartContent): Promise<ManifestPart> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of contentPieces(content)) {
    hash.update(piece);
    bytes += piece.length;
  }
  return { name, bytes, sha256: hash.digest("hex") };
}

/** The bytes of a backup. @param contents of the manifest's parts, in their order */
export function archiveBytes(
  manifest: Manifest,
  contents: readonly PartContent[],
  passphrase: string | undefined,
): AsyncGenerator<Uint8Array> {
  const compress = createZstdCompress({ params: { [constants.ZSTD_c_checksumFlag]: 1 } });
  const compressed = through(tarPieces(manifest, contents), compress);
  return withChecksum(passphrase === undefined ? compressed : seal(compressed, passphrase));
}

export interface Extracted {
  readonly manifest: Manifest;
  readonly isEncrypted: boolean;
  /** The file of keys; undefined for a server that keeps them in memory. */
  readonly keys: Buffer | undefined;
  /** The server's configuration file; undefined when it ran without. */
  readonly configuration: Buffer | undefined;
}

/**
 * Reads a backup and checks every byte of it.
 *
 * @param databasePath a new file, for the database
 * @throws Error naming the backup and what is wrong with it
 */
export async function extractArchive(
  path: string,
  passphrase: string | undefined,
  databasePath: string,
): Promise<Extracted> {
  try {
    await using file = await open(path, "r");
    const isEncrypted = await recognise(file);
    if (isEncrypted && passphrase === undefined) {
      throw new Error("it is encrypted: give its passphrase with -passphraseFile");
    }
    if (!isEncrypted && passphrase !== undefined) {
      throw new Error(
        "it is not encrypted, so the passphrase does not tell who made it: anybody could have put it there; leave -passphraseFile out only if it is yours",
      );
    }
    const stored = piecesOf(file, await checkedLength(file));
    const compressed =
      isEncrypted && passphrase !== undefined ? unseal(stored, passphrase) : stored;
    const source = new ByteSource(through(compressed, createZstdDecompress()));
    try {
      return { isEncrypted, ...(await extractParts(source, databasePath)) };
    } finally {
      await source.close();
    }
  } catch (error) {
    throw explained(path, error);
  }
}

/** @returns whether it is encrypted. @throws Error when it is no backup */
async function recognise(file: FileHandle): Promise<boolean> {
  const start = Buffer.alloc(SEAL_MAGIC.length);
  await file.read(start, 0, start.length, 0);
  if (start.equals(SEAL_MAGIC)) return true;
  if (start.subarray(0, ZSTD_MAGIC.length).equals(ZSTD_MAGIC)) return false;
  throw new Error("it is not a backup of spire-server, or its first bytes are damaged");
}

async function extractParts(
  source: ByteSource,
  databasePath: string,
): Promise<Omit<Extracted, "isEncrypted">> {
  const manifest = parseManifest(await smallPart(source, MANIFEST_NAME));
  let keys: Buffer | undefined;
  let configuration: Buffer | undefined;
  for (const part of manifest.parts) {
    if (part.name === KEYS_NAME) keys = await smallPart(source, KEYS_NAME, part);
    else if (part.name === CONFIGURATION_NAME) {
      configuration = await smallPart(source, CONFIGURATION_NAME, part);
    } else await largePart(source, part, databasePath);
  }
  await readTarEnd(source);
  return { manifest, keys, configuration };
}

async function smallPart(source: ByteSource, name: string, part?: ManifestPart): Promise<Buffer> {
  const bytes = await nextPart(source, name);
  if (bytes > MAX_SMALL_PART_BYTES) throw new DamageError(`its part ${name} is too large`);
  const content = await source.exactly(bytes);
  await skipTarPadding(source, bytes);
  if (part !== undefined) {
    checkPart(part, bytes, createHash("sha256").update(content).digest("hex"));
  }
  return content;
}

async function largePart(source: ByteSource, part: ManifestPart, path: string): Promise<void> {
  const bytes = await nextPart(source, part.name);
  const hash = createHash("sha256");
  await using file = await open(path, "wx", 0o600);
  for await (const piece of source.pieces(bytes, PIECE_BYTES)) {
    hash.update(piece);
    try {
      await file.writeFile(piece);
    } catch (error) {
      throw writeError(path, error);
    }
  }
  await file.sync();
  await skipTarPadding(source, bytes);
  checkPart(part, bytes, hash.digest("hex"));
}

async function nextPart(source: ByteSource, expected: string): Promise<number> {
  const { name, bytes } = await readTarHeader(source);
  if (name !== expected) throw new DamageError(`its part ${expected} is missing`);
  return bytes;
}

function checkPart(part: ManifestPart, bytes: number, sha256: string): void {
  if (part.bytes !== bytes || part.sha256 !== sha256) {
    throw new DamageError(`its part ${part.name} is not what the manifest says`);
  }
}

async function* tarPieces(
  manifest: Manifest,
  contents: readonly PartContent[],
): AsyncGenerator<Uint8Array> {
  const modifiedAt = manifest.createdAt;
  const first = formatManifest(manifest);
  yield tarHeader({ name: MANIFEST_NAME, bytes: first.length, modifiedAt });
  yield first;
  yield tarPadding(first.length);
  for (const [index, { name, bytes }] of manifest.parts.entries()) {
    yield tarHeader({ name, bytes, modifiedAt });
    yield* contentPieces(contents[index] ?? new Uint8Array());
    yield tarPadding(bytes);
  }
  yield tarEnd();
}

async function* contentPieces(content: PartContent): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else yield* piecesOf(content, (await content.stat()).size);
}

/** What comes out of a stream when the pieces go in; an error of either ends both. */
async function* through(
  pieces: AsyncIterable<Uint8Array>,
  transform: Transform,
): AsyncGenerator<Uint8Array> {
  let failure: unknown;
  pipeline(Readable.from(pieces), transform, (error) => {
    failure = error;
  });
  try {
    for await (const piece of transform) yield piece as Uint8Array;
  } catch (error) {
    throw failure ?? error;
  } finally {
    transform.destroy();
  }
}

function explained(path: string, error: unknown): Error {
  const { code } = error as { code?: unknown };
  const text = errorText(error);
  const isDamage = error instanceof DamageError || (typeof code === "string" && /^Z/.test(code));
  if (isDamage) {
    return new Error(`backup ${path} is damaged: ${text}; use another one`, { cause: error });
  }
  if (error instanceof WrongPassphraseError) {
    return new Error(
      `backup ${path}: the passphrase is not the one that it was encrypted with (or its header was changed on purpose)`,
    );
  }
  return new Error(`backup ${path}: ${text}`, { cause: error });
}
