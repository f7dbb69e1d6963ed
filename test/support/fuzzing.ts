/**
 * What fuzz tests share: how many inputs there are, how inputs are damaged, and what may come of them. Whatever is not fit to be read must
 * be refused by an error of ours, soon; an error of the runtime's (a property of undefined, too much recursion) means that some input was
 * not thought of.
 */
import { writeSync } from "node:fs";
import fc from "fast-check";

/** Some thousands by default; a hundred thousand, and a line of figures for each property, with SPIRE_EDGE_FUZZ_RUNS=100000. */
const WANTED = process.env["SPIRE_EDGE_FUZZ_RUNS"];
export const FUZZ_RUNS: number = WANTED === undefined ? 3000 : Number(WANTED);
/** Inputs that cross a socket cost more. */
const FUZZ_CALLS: number = WANTED === undefined ? 1000 : FUZZ_RUNS;
const BATCH = 50;
/** For `test`, milliseconds. */
export const FUZZ_TIMEOUT_MS: number = 60_000 + FUZZ_RUNS * 10;

/** No input may hold a thread for longer; what takes a thousandth of that on a quiet machine is far from it on a busy one. */
const MAX_INPUT_MS = 5_000;

const OF_THE_RUNTIME = [TypeError, RangeError, ReferenceError, EvalError];

/** Gives each input to the check; what it throws is the failure. */
export function fuzz<T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  check: (input: T) => Promise<void> | void,
  runs: number = FUZZ_RUNS,
): Promise<void> {
  return assertAll(`${name}: ${runs} inputs`, inputs, check, runs);
}

/** The same with inputs that are on their way together, as each would wait for something. */
export function fuzzTogether<T>(
  name: string,
  input: fc.Arbitrary<T>,
  check: (batch: readonly T[]) => Promise<void>,
): Promise<void> {
  const batches = Math.ceil(FUZZ_CALLS / BATCH);
  const inputs = fc.array(input, { minLength: BATCH, maxLength: BATCH });
  return assertAll(`${name}: ${batches} times ${BATCH} inputs`, inputs, check, batches);
}

async function assertAll<T>(
  what: string,
  inputs: fc.Arbitrary<T>,
  check: (input: T) => Promise<void> | void,
  runs: number,
): Promise<void> {
  let slowestMs = 0;
  const startedMs = performance.now();
  await fc.assert(
    fc.asyncProperty(inputs, async (input) => {
      const beforeMs = performance.now();
      await check(input);
      const tookMs = performance.now() - beforeMs;
      slowestMs = Math.max(slowestMs, tookMs);
      if (tookMs > MAX_INPUT_MS) throw new Error(`it took ${tookMs} ms`);
    }),
    { numRuns: runs },
  );
  if (WANTED === undefined) return;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  writeSync(2, `${what} in ${seconds} s, the slowest ${slowestMs.toFixed(1)} ms\n`);
}

/** The result of reading, or undefined when the input is refused. @throws the error if the runtime made it */
export async function attempt<T>(read: () => Promise<T> | T): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Error)) throw new Error(`something else was thrown: ${String(error)}`);
    if (OF_THE_RUNTIME.some((kind) => error instanceof kind)) throw error;
    return undefined;
  }
}

const edit = fc.record({
  at: fc.nat(),
  remove: fc.oneof({ weight: 3, arbitrary: fc.nat(4) }, fc.nat(64)),
  insert: fc.uint8Array({ maxLength: 4 }),
  from: fc.nat(),
});

/** Copies of the samples with bytes changed, put in, taken out and taken from other places. */
export function damagedBytes(samples: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([sample, edits]) => {
      let bytes = Buffer.from(sample);
      for (const { at, remove, insert, from } of edits) {
        const start = at % (bytes.length + 1);
        const copied =
          from % 3 === 0 ? bytes.subarray(from % bytes.length || 0).subarray(0, 16) : [];
        bytes = Buffer.concat([
          bytes.subarray(0, start),
          Uint8Array.from(insert),
          Uint8Array.from(copied),
          bytes.subarray(start + remove),
        ]);
      }
      return new Uint8Array(bytes);
    });
}

/** The same for texts, by words that mean something to the reader. */
export function damagedText(
  samples: readonly string[],
  words: readonly string[],
): fc.Arbitrary<string> {
  const change = fc.record({
    at: fc.nat(),
    remove: fc.oneof({ weight: 3, arbitrary: fc.nat(3) }, fc.nat(40)),
    insert: fc.oneof(fc.constantFrom("", ...words), fc.string({ unit: "binary", maxLength: 3 })),
  });
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(change, { minLength: 1, maxLength: 5 }))
    .map(([sample, changes]) => {
      let text = sample;
      for (const { at, remove, insert } of changes) {
        const start = at % (text.length + 1);
        text = text.slice(0, start) + insert + text.slice(start + remove);
      }
      return text;
    });
}
