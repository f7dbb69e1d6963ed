import type { Block, Problems } from "#config/block.ts";

/** When and how many attested nodes whose SVID ended are removed. */
export interface NodePruning {
  /** How long ago the SVID ended, at least; in seconds. */
  readonly expiredForSeconds: number;
  /** Also nodes that could not attest again. */
  readonly includeTofu: boolean;
  /** How many at most in one go. */
  readonly batchSize: number;
}

const DEFAULT_BATCH_SIZE = 1000;

/**
 * The keys of the server block that are about pruning.
 *
 * @returns undefined when nodes are kept for ever
 */
export function readNodePruning(server: Block, problems: Problems): NodePruning | undefined {
  const key = "prune_attested_nodes_expired_for";
  const expiredForSeconds = server.duration(key, `could not parse ${key}`) ?? 0;
  const includeTofu = server.boolean("prune_tofu_nodes") ?? false;
  const batchSize = server.number("prune_attested_nodes_batch_size") ?? 0;
  if (expiredForSeconds < 0) {
    // The reference would remove nodes whose SVID is still good.
    problems.add(`${key} must not be negative`, server.lineOf(key));
  }
  if (expiredForSeconds <= 0) return undefined;
  return {
    expiredForSeconds,
    includeTofu,
    batchSize: batchSize > 0 ? batchSize : DEFAULT_BATCH_SIZE,
  };
}
