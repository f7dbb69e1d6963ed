import { expect, test } from "bun:test";
import { DamageError } from "./byte-source.ts";
import { SEAL_MAGIC, seal, unseal, WrongPassphraseError } from "./seal.ts";

const CHUNK = 64 * 1024;
const HEADER = 84;

async function* pieces(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

async function bytesOf(generated: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(generated));
}

const sealed = (text: Uint8Array, passphrase = "right"): Promise<Buffer> =>
  bytesOf(seal(pieces(text), passphrase));
const opened = (bytes: Uint8Array, passphrase = "right"): Promise<Buffer> =>
  bytesOf(unseal(pieces(bytes), passphrase));

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => "not refused",
    (error: unknown) => error,
  );
}

test.each([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])("%d bytes come back", async (length) => {
  const text = Buffer.alloc(length, 7);
  const bytes = await sealed(text);
  expect(bytes.length).toBe(HEADER + length + 16 * Math.max(1, Math.ceil(length / CHUNK)));
  expect((await opened(bytes)).equals(text)).toBe(true);
});

test("the same text is never encrypted alike", async () => {
  const text = Buffer.alloc(100, 7);
  expect((await sealed(text)).equals(await sealed(text))).toBe(false);
});

test("a passphrase is the same however its letters are composed", async () => {
  const bytes = await sealed(Buffer.from("x"), "caf\u00e9");
  expect((await opened(bytes, "cafe\u0301")).toString()).toBe("x");
});

test("another passphrase is told from a file that was changed", async () => {
  const bytes = await sealed(Buffer.alloc(100, 7));
  expect(await failure(opened(bytes, "wrong"))).toBeInstanceOf(WrongPassphraseError);
  const changed = Buffer.from(bytes);
  changed[HEADER + 5]! ^= 1;
  expect(await failure(opened(changed))).toBeInstanceOf(DamageError);
});

test("every byte of the header and of the tag counts", async () => {
  const bytes = await sealed(Buffer.alloc(3, 7));
  // The magic number is looked at by whoever tells a sealed file from another.
  for (let at = SEAL_MAGIC.length; at < bytes.length; at += 9) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 0x40;
    expect({ at, refused: (await failure(opened(changed))) instanceof Error }).toEqual({
      at,
      refused: true,
    });
  }
}, 60_000);

test("chunks cannot be left out, moved or cut off", async () => {
  const bytes = await sealed(Buffer.alloc(3 * CHUNK, 7));
  const length = CHUNK + 16;
  const header = bytes.subarray(0, HEADER);
  const [first, second, third] = [0, 1, 2].map((number) =>
    bytes.subarray(HEADER + number * length, HEADER + (number + 1) * length),
  ) as [Buffer, Buffer, Buffer];
  for (const order of [
    [first, third],
    [second, first, third],
    [first, second],
    [first, second, third, third],
    [],
  ]) {
    const changed = Buffer.concat([header, ...order]);
    expect(await failure(opened(changed))).toBeInstanceOf(DamageError);
  }
}, 60_000);

test("a file cannot ask for more memory than a backup takes, nor for less work", async () => {
  const bytes = await sealed(Buffer.alloc(3, 7));
  for (const [place, value] of [
    [0, 63],
    [0, 19],
    [0, 1],
    [1, 255],
    [2, 255],
    [3, 1],
  ] as const) {
    const changed = Buffer.from(bytes);
    changed[SEAL_MAGIC.length + place] = value;
    expect(String(await failure(opened(changed)))).toContain("more or less work");
  }
});
