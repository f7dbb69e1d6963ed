/**
 * Encryption of a backup with a passphrase, by what node:crypto has.
 *
 *     16 bytes   the magic number, `spire-backup-v1` and a line end
 *      4 bytes   scrypt's log2(N), r and p; zero
 *     32 bytes   salt
 *     32 bytes   HMAC-SHA-256 of all before
 *     chunks     64 KiB each, the last one shorter: AES-256-GCM and its tag of 16 bytes
 *
 * scrypt (RFC 7914) makes 64 bytes of passphrase and salt: the key of the chunks, then the key of the HMAC. As the salt is new for every
 * file, so are the keys, and a nonce need only count: eleven bytes the chunk's number, one byte 1 for the last chunk and 0 for others. So
 * no chunk can be left out, moved, or taken from another file. The HMAC tells a wrong passphrase from a file that was changed.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  randomBytes,
  scrypt,
  timingSafeEqual,
} from "node:crypto";
import { ByteSource, DamageError } from "./byte-source.ts";

/** What an encrypted backup begins with. */
export const SEAL_MAGIC: Buffer = Buffer.from("spire-backup-v1\n");
const SALT_BYTES = 32;
const MAC_BYTES = 32;
const SIGNED_BYTES: number = SEAL_MAGIC.length + 4 + SALT_BYTES;
const TAG_BYTES = 16;
const CHUNK_BYTES = 64 * 1024;

/** 128 MiB and a third of a second. */
const LOG2_N = 17;
const R = 8;
const P = 1;
/** A file says what it needs. More than 256 MiB, or less than is safe, is not believed. */
const LOG2_N_LIMITS: readonly [number, number] = [14, 18];

interface Keys {
  readonly chunks: Buffer;
  readonly header: Buffer;
}

/** The passphrase is not the one that the file was encrypted with. */
export class WrongPassphraseError extends Error {
  override readonly name: string = "WrongPassphraseError";
}

/** The pieces, encrypted. */
export async function* seal(
  pieces: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array> {
  const salt = randomBytes(SALT_BYTES);
  const signed = Buffer.concat([SEAL_MAGIC, Buffer.from([LOG2_N, R, P, 0]), salt]);
  const keys = await deriveKeys(passphrase, salt, LOG2_N);
  yield Buffer.concat([signed, macOf(signed, keys)]);
  const source = new ByteSource(pieces);
  for (let number = 0, isLast = false; !isLast; number += 1) {
    const chunk = await source.upTo(CHUNK_BYTES);
    isLast = await source.isAtEnd();
    const cipher = createCipheriv("aes-256-gcm", keys.chunks, nonceOf(number, isLast));
    const sealed = Buffer.concat([cipher.update(chunk), cipher.final()]);
    yield Buffer.concat([sealed, cipher.getAuthTag()]);
  }
}

/** @throws WrongPassphraseError, or DamageError when the file was changed since it was written */
export async function* unseal(
  pieces: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(pieces);
  try {
    const keys = await openHeader(source, passphrase);
    for (let number = 0, isLast = false; !isLast; number += 1) {
      const chunk = await source.upTo(CHUNK_BYTES + TAG_BYTES);
      isLast = await source.isAtEnd();
      yield openChunk(chunk, keys, nonceOf(number, isLast));
    }
  } finally {
    await source.close();
  }
}

async function openHeader(source: ByteSource, passphrase: string): Promise<Keys> {
  const signed = await source.exactly(SIGNED_BYTES);
  const mac = await source.exactly(MAC_BYTES);
  const [log2N = 0, r, p, reserved] = signed.subarray(SEAL_MAGIC.length);
  const [lowest, highest] = LOG2_N_LIMITS;
  if (log2N < lowest || log2N > highest || r !== R || p !== P || reserved !== 0) {
    throw new DamageError("it asks for more or less work on the passphrase than any backup does");
  }
  const keys = await deriveKeys(passphrase, signed.subarray(-SALT_BYTES), log2N);
  if (!timingSafeEqual(macOf(signed, keys), mac)) throw new WrongPassphraseError();
  return keys;
}

function openChunk(chunk: Buffer, keys: Keys, nonce: Buffer): Buffer {
  if (chunk.length < TAG_BYTES) throw new DamageError("it ends too early");
  const decipher = createDecipheriv("aes-256-gcm", keys.chunks, nonce, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
  const text = decipher.update(chunk.subarray(0, -TAG_BYTES));
  try {
    return Buffer.concat([text, decipher.final()]);
  } catch (error) {
    throw new DamageError("it was changed since it was encrypted", { cause: error });
  }
}

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 3);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function macOf(signed: Buffer, keys: Keys): Buffer {
  return createHmac("sha256", keys.header).update(signed).digest();
}

function deriveKeys(passphrase: string, salt: Buffer, log2N: number): Promise<Keys> {
  const N = 2 ** log2N;
  // What scrypt needs (RFC 7914 §2) and a little more.
  const maxmem = 128 * R * N + 1024 * 1024;
  const { promise, resolve, reject } = Promise.withResolvers<Keys>();
  scrypt(passphrase.normalize("NFC"), salt, 64, { N, r: R, p: P, maxmem }, (error, key) => {
    // Bun says undefined where there is no error, Node null.
    if (error instanceof Error) reject(error);
    else resolve({ chunks: key.subarray(0, 32), header: key.subarray(32) });
  });
  return promise;
}
