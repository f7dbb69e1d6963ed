/**
 * The little of tar (POSIX ustar) that a backup needs: plain files with short names, all of one owner and mode. What is read must be byte
 * for byte what would have been written, so that nothing hides in the fields that do not matter.
 */
import { type ByteSource, DamageError } from "./byte-source.ts";

const BLOCK_BYTES = 512;
const END_BLOCKS = 2;
/** What eleven octal digits hold. */
const MAX_FILE_BYTES = 8 ** 11 - 1;

export interface TarFile {
  readonly name: string;
  readonly bytes: number;
  /** Unix seconds. */
  readonly modifiedAt: number;
}

/** The block before a file. @throws Error when the file is too large for the format */
export function tarHeader({ name, bytes, modifiedAt }: TarFile): Buffer {
  if (bytes > MAX_FILE_BYTES) throw new Error(`${name} is larger than a tar archive can hold`);
  const block = Buffer.alloc(BLOCK_BYTES);
  const field = (offset: number, text: string): void => void block.write(text, offset, "latin1");
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");
  field(0, name);
  field(100, octal(0o600, 7));
  field(108, octal(0, 7));
  field(116, octal(0, 7));
  field(124, octal(bytes, 11));
  field(136, octal(modifiedAt, 11));
  // The checksum counts itself as spaces.
  block.fill(" ", 148, 156);
  field(156, "0");
  field(257, "ustar\x0000");
  let sum = 0;
  for (const octet of block) sum += octet;
  field(148, `${octal(sum, 6)}\0 `);
  return block;
}

/** What follows a file of that many bytes up to the next block. */
export function tarPadding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** The end of an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(END_BLOCKS * BLOCK_BYTES);
}

/** The header of the file that comes next. @throws DamageError */
export async function readTarHeader(source: ByteSource): Promise<TarFile> {
  const block = await source.exactly(BLOCK_BYTES);
  const text = (from: number, to: number): string => block.toString("latin1", from, to);
  const file = {
    name: text(0, 100).replace(/\0+$/, ""),
    bytes: Number.parseInt(text(124, 135), 8),
    modifiedAt: Number.parseInt(text(136, 147), 8),
  };
  const isOurs = Number.isFinite(file.bytes) && Number.isFinite(file.modifiedAt);
  if (!isOurs || !tarHeader(file).equals(block)) {
    throw new DamageError("the header of a part is not as it was written");
  }
  return file;
}

/** Takes what follows a file. @throws DamageError */
export async function skipTarPadding(source: ByteSource, bytes: number): Promise<void> {
  await expectZeros(source, tarPadding(bytes).length);
}

/** Takes the end of the archive, which nothing may follow. @throws DamageError */
export async function readTarEnd(source: ByteSource): Promise<void> {
  await expectZeros(source, END_BLOCKS * BLOCK_BYTES);
  if (!(await source.isAtEnd())) throw new DamageError("something follows its end");
}

async function expectZeros(source: ByteSource, bytes: number): Promise<void> {
  const zeros = await source.exactly(bytes);
  if (!zeros.every((octet) => octet === 0)) {
    throw new DamageError("there is something between its parts");
  }
}
