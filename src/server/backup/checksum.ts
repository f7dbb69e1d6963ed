/**
 * The checksum at the end of a backup: SHA-256 of all bytes before it, in a frame that zstd's own tools skip. It tells damage by accident, a
 * file cut short above all; who changes a file on purpose can change the checksum as well.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { DamageError } from "./byte-source.ts";

/** RFC 8878 §3.1.2, a skippable frame: its magic number and the length of its content, both little-endian. */
const FRAME_HEADER: Buffer = Buffer.from([0x5e, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]);
const CHECKSUM_BYTES: number = FRAME_HEADER.length + 32;
const PIECE_BYTES = 256 * 1024;

/** The pieces, and their checksum behind them. */
export async function* withChecksum(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
  yield Buffer.concat([FRAME_HEADER, hash.digest()]);
}

/** Reads the whole file and compares. @returns how many bytes are before the checksum. @throws DamageError */
export async function checkedLength(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const length = size - CHECKSUM_BYTES;
  if (length <= 0) throw new DamageError("it is too short");
  const hash = createHash("sha256");
  for await (const piece of piecesOf(file, length)) hash.update(piece);
  const found = Buffer.alloc(CHECKSUM_BYTES);
  await file.read(found, 0, CHECKSUM_BYTES, length);
  if (!found.equals(Buffer.concat([FRAME_HEADER, hash.digest()]))) {
    throw new DamageError("its checksum does not match, or its end is missing");
  }
  return length;
}

/** The first bytes of a file, that many in all. */
export async function* piecesOf(file: FileHandle, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; ) {
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, length - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) throw new DamageError("it became shorter while it was read");
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}
