import { randomBytes, randomInt, randomUUID } from "node:crypto";

/** Randomness, injected, so that tests can fix it. */
export interface Random {
  bytes(count: number): Uint8Array;
  /** A random (version 4) UUID: entry IDs, join tokens. */
  uuid(): string;
  /** A number in [0, 1). For jitter only, never for secrets. */
  fraction(): number;
}

/** The operating system's generator. */
export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  uuid: () => randomUUID(),
  fraction: () => randomInt(2 ** 32) / 2 ** 32,
};
