/**
 * The door to node-forge, which has the containers and the ciphers of PKCS#12. Its derivation of keys is in JavaScript and takes a hundred
 * times as long as the platform's, so that is put in its place.
 */
import { hash, pbkdf2Sync } from "node:crypto";
import forge from "node-forge";

/** What is asked for that is not done, in words for the operator. */
export class DerivationError extends Error {
  override readonly name: string = "DerivationError";
}

type Digest = forge.md.MessageDigest & {
  readonly algorithm: string;
  readonly digestLength: number;
  readonly blockLength: number;
};

/** Of the work under way. */
let iterationsLeft = Number.POSITIVE_INFINITY;

/** Runs work that may derive keys, in so many iterations altogether. @throws DerivationError when they do not suffice */
export function withIterations<T>(most: number, work: () => T): T {
  iterationsLeft = most;
  try {
    return work();
  } finally {
    iterationsLeft = Number.POSITIVE_INFINITY;
  }
}

function takeIterations(count: number): void {
  if (!Number.isInteger(count) || count < 1) {
    throw new DerivationError(`it asks for ${count} iterations to derive a key`);
  }
  if (count > iterationsLeft) {
    throw new DerivationError(
      `it asks for ${count} iterations to derive a key, which are too many`,
    );
  }
  iterationsLeft -= count;
}

/** RFC 8018 §5.2. @param password a character for each byte @returns a character for each byte */
function pbkdf2(
  password: string,
  salt: string,
  iterations: number,
  length: number,
  digest?: Digest | null,
): string {
  takeIterations(iterations);
  const [secret, bytes] = [password, salt].map((text) => Buffer.from(text, "binary"));
  const algorithm = digest?.algorithm ?? "sha1";
  const key = pbkdf2Sync(secret ?? "", bytes ?? "", iterations, length, algorithm);
  return key.toString("binary");
}

/** RFC 7292 Appendix B.2. @param id what the key is for, Appendix B.3 */
function pkcs12Key(
  password: string | null | undefined,
  salt: forge.util.ByteStringBuffer,
  id: number,
  iterations: number,
  length: number,
  digest?: Digest | null,
): forge.util.ByteStringBuffer {
  takeIterations(iterations);
  const { algorithm, blockLength } = digest ?? (forge.md.sha1.create() as Digest);
  const diversifier = Buffer.alloc(blockLength, id);
  const input = Buffer.concat([
    repeated(Buffer.from(salt.bytes(), "binary"), blockLength),
    repeated(bmpString(password), blockLength),
  ]);
  let key = Buffer.alloc(0);
  while (key.length < length) {
    let part = Buffer.concat([diversifier, input]);
    for (let round = 0; round < iterations; round++) part = hash(algorithm, part, "buffer");
    key = Buffer.concat([key, part]);
    addToBlocks(input, Buffer.alloc(blockLength, part), blockLength);
  }
  return forge.util.createBuffer(key.subarray(0, length).toString("binary"));
}

/** Copies one after the other, up to the next multiple of the block's length. */
function repeated(bytes: Buffer, blockLength: number): Buffer {
  if (bytes.length === 0) return bytes;
  return Buffer.alloc(blockLength * Math.ceil(bytes.length / blockLength), bytes);
}

/** Two octets a character, and two of zero at the end (RFC 7292 Appendix B.1). */
function bmpString(text: string | null | undefined): Buffer {
  return text === null || text === undefined
    ? Buffer.alloc(0)
    : Buffer.from(`${text}\0`, "utf16le").swap16();
}

/** Step 6 C: adds the other block and one to each block, big-endian and without what runs over. */
function addToBlocks(blocks: Buffer, other: Buffer, blockLength: number): void {
  for (let start = 0; start < blocks.length; start += blockLength) {
    let carry = 1;
    for (let at = blockLength - 1; at >= 0; at--) {
      carry += (blocks[start + at] ?? 0) + (other[at] ?? 0);
      blocks[start + at] = carry & 0xff;
      carry >>>= 8;
    }
  }
}

// forge looks its own functions up at each call.
const { pbe } = forge as unknown as { pbe: object };
Object.assign(forge.pkcs5, { pbkdf2 });
Object.assign(forge.pkcs12, { generateKey: pkcs12Key });
Object.assign(pbe, { generatePkcs12Key: pkcs12Key });

export { forge };
