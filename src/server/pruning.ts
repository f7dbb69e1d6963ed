import { REPEAT_SECONDS } from "#attestors/join_token/server.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import { pruneBundle } from "#server/ca/authority/prune-bundle.ts";
import type { NodePruning } from "#server/config/pruning.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { type PeriodicTask, periodically } from "./periodic.ts";

const ENTRIES_INTERVAL_MS = 5 * 60_000;
const JOIN_TOKENS_INTERVAL_MS = 5 * 60_000;
/** As the reference. */
const BUNDLE_INTERVAL_MS = 6 * 60 * 60_000;
const NODES_INTERVAL_MS = 60 * 60_000;
/** So that servers that were started together do not all do it at the same moment. */
const NODES_JITTER_MS = 15 * 60_000;

export interface PruningParts {
  readonly store: DataStore;
  readonly trustDomain: TrustDomain;
  /** Undefined keeps expired nodes for ever. */
  readonly nodes: NodePruning | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Starts removing what has expired: authorities, entries, join tokens, and, when configured, attested nodes. */
export function startPruning(parts: PruningParts): readonly PeriodicTask[] {
  const { store, clock, nodes, random, log } = parts;
  const tasks = [
    periodically(
      "prune the trust bundle",
      BUNDLE_INTERVAL_MS,
      () => pruneBundle({ ...parts, bundles: store.bundles }, clock.nowSeconds()),
      parts,
    ),
    periodically("prune entries", ENTRIES_INTERVAL_MS, () => pruneEntries(parts), parts),
    periodically("prune join tokens", JOIN_TOKENS_INTERVAL_MS, () => pruneTokens(parts), parts),
  ];
  if (nodes === undefined) return tasks;
  const jitter = Math.floor((2 * random.fraction() - 1) * NODES_JITTER_MS);
  log.info("Periodic prune of expired nodes started", {
    expired_for_seconds: nodes.expiredForSeconds,
    include_tofu: nodes.includeTofu,
  });
  const prune = (): Promise<void> => pruneNodes(parts, nodes);
  return [...tasks, periodically("prune attested nodes", NODES_INTERVAL_MS + jitter, prune, parts)];
}

async function pruneEntries({ store, clock, log }: PruningParts): Promise<void> {
  for (const { id, spiffeId, parentId } of await store.entries.prune(clock.nowSeconds())) {
    log.info("Pruned an expired registration", {
      entry_id: id,
      spiffe_id: spiffeId.toString(),
      parent_id: parentId.toString(),
    });
  }
}

async function pruneTokens({ store, clock, log }: PruningParts): Promise<void> {
  const now = clock.nowSeconds();
  const count = await store.joinTokens.prune(now, now - REPEAT_SECONDS);
  if (count > 0) log.info("Pruned join tokens that expired or were used", { count });
}

async function pruneNodes({ store, clock, log }: PruningParts, nodes: NodePruning): Promise<void> {
  const expiredBefore = clock.nowSeconds() - nodes.expiredForSeconds;
  const ids = await store.nodes.prune(expiredBefore, nodes.includeTofu, nodes.batchSize);
  if (ids.length > 0) log.info("Pruned expired agents", { count: ids.length });
}
