/**
 * Keys of SPIRE's that find nothing to do here. None is dropped in silence: what it asks for is so in any case, which a note tells; or it
 * would not happen, and the key is refused with what to do instead.
 */
import type { Block, Problems } from "./block.ts";

type KeyType = "block" | "boolean" | "duration" | "number" | "string" | "strings";

/** By key: of which type it is, and why it has nothing to do. */
export type NeedlessKeys = Readonly<Record<string, readonly [type: KeyType, why: string]>>;
/** By key: what to do instead. */
export type RefusedKeys = Readonly<Record<string, string>>;

/** Takes the keys with a note for each that asks for something; a value of the wrong type is a problem all the same. */
export function takeNeedless(block: Block, keys: NeedlessKeys, problems: Problems): void {
  for (const [key, [type, why]] of Object.entries(keys)) {
    check(block, key, type);
    if (block.asksFor(key)) problems.note(`${key} is not needed: ${why}`, block.lineOf(key));
  }
}

function check(block: Block, key: string, type: KeyType): void {
  if (type === "duration") block.duration(key, `could not parse ${key}`);
  else block[type](key);
}

/** Reports each of the keys that asks for something. */
export function refuse(block: Block, keys: RefusedKeys, problems: Problems): void {
  for (const [key, instead] of Object.entries(keys)) {
    if (block.asksFor(key)) {
      problems.add(`${key} is not supported: ${instead}`, block.lineOf(key));
    }
  }
}

const WITH_PROFILING = "it counts with profiling_enabled alone";

/** Both files have these keys for the profiler of Go's runtime. */
const PROFILING: NeedlessKeys = {
  profiling_freq: ["number", WITH_PROFILING],
  profiling_names: ["strings", WITH_PROFILING],
  profiling_port: ["number", WITH_PROFILING],
};

export function readProfiling(block: Block, problems: Problems): void {
  const instead =
    "there is no pprof endpoint; remove the key, and watch times and counts by telemetry { Prometheus }";
  refuse(block, { profiling_enabled: instead }, problems);
  takeNeedless(block, PROFILING, problems);
}

/** SPIRE's tests have this one; it does nothing there either. */
const TEST_FLAG = "i_am_a_test_flag";

/**
 * The names of features that SPIRE switches on before their time. One that is not known is a problem.
 *
 * @param known those that this program has
 * @returns those that the configuration names
 */
export function readFeatureFlags(
  experimental: Block,
  known: readonly string[],
  problems: Problems,
): readonly string[] {
  const line = experimental.lineOf("feature_flags");
  const flags = experimental.strings("feature_flags");
  for (const flag of flags) {
    if (flag !== TEST_FLAG && !known.includes(flag))
      problems.add(`unknown feature flag(s): ${flag}`, line);
  }
  return flags;
}
