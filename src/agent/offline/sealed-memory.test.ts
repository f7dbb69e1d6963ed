import { expect, test } from "bun:test";
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { createSealedMemory, readSealedMemory } from "./sealed-memory.ts";

const bytes = Uint8Array.from({ length: 200_000 }, (_none, index) => index % 251);

test("sealed memory gives back what was put into it, more than once, and takes nothing further", async () => {
  const descriptor = await createSealedMemory("test", bytes);
  for (let count = 0; count < 2; count++) {
    expect(Buffer.compare(await readSealedMemory(descriptor, bytes.length), bytes)).toBe(0);
  }
  expect(() => writeSync(descriptor, "x", 0)).toThrow("EPERM");
  expect(() => ftruncateSync(descriptor, 10)).toThrow("EPERM");
  expect(() => ftruncateSync(descriptor, bytes.length + 1)).toThrow("EPERM");
  closeSync(descriptor);
});

test("is not handed to programs that are started", async () => {
  const descriptor = await createSealedMemory("test", bytes);
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))?.[1];
  expect(Number.parseInt(flags ?? "0", 8) & 0o2000000).not.toBe(0);
  closeSync(descriptor);
});

test("larger than allowed, it is not read", async () => {
  const descriptor = await createSealedMemory("test", bytes);
  await expect(readSealedMemory(descriptor, bytes.length - 1)).rejects.toThrow("larger than");
  closeSync(descriptor);
});

test("a file, a pipe's end or a closed descriptor is no sealed memory", async () => {
  const file = openSync(import.meta.path, "r");
  await expect(readSealedMemory(file, 1e6)).rejects.toThrow("not sealed memory");
  closeSync(file);
  const device = openSync("/dev/null", "r");
  await expect(readSealedMemory(device, 1e6)).rejects.toThrow("not sealed memory");
  closeSync(device);
  await expect(readSealedMemory(4000, 1e6)).rejects.toThrow();
});
