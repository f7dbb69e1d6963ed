import { REPEAT_SECONDS } from "#attestors/join_token/server.ts";
import type { Clock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { pruneBundle } from "#server/ca/prune-bundle.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { type PeriodicTask, periodically } from "./periodic.ts";

const ENTRIES_INTERVAL_MS = 5 * 60_000;
const JOIN_TOKENS_INTERVAL_MS = 5 * 60_000;
/** As the reference. */
const BUNDLE_INTERVAL_MS = 6 * 60 * 60_000;
const NODES_INTERVAL_MS = 60 * 60_000;

export interface PruningParts {
  readonly store: DataStore;
  readonly trustDomain: TrustDomain;
  /** Undefined keeps expired nodes for ever. */
  readonly nodesExpiredForSeconds: number | undefined;
  readonly nodesBatchSize: number;
  /** Also nodes that could not attest again. */
  readonly includeTofuNodes: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Starts removing what has expired: authorities, entries, join tokens, and, when configured, attested nodes. */
export function startPruning(parts: PruningParts): readonly PeriodicTask[] {
  const { store, clock, log, nodesExpiredForSeconds } = parts;
  const tasks = [
    periodically(
      "prune the trust bundle",
      BUNDLE_INTERVAL_MS,
      () => pruneBundle({ ...parts, bundles: store.bundles }, clock.nowSeconds()),
      parts,
    ),
    periodically("prune entries", ENTRIES_INTERVAL_MS, () => pruneEntries(parts), parts),
    periodically(
      "prune join tokens",
      JOIN_TOKENS_INTERVAL_MS,
      async () => {
        const now = clock.nowSeconds();
        const count = await store.joinTokens.prune(now, now - REPEAT_SECONDS);
        if (count > 0) log.info("Pruned join tokens that expired or were used", { count });
      },
      parts,
    ),
  ];
  if (nodesExpiredForSeconds === undefined) return tasks;
  const nodes = (): Promise<void> => pruneNodes(parts, nodesExpiredForSeconds);
  return [...tasks, periodically("prune attested nodes", NODES_INTERVAL_MS, nodes, parts)];
}

async function pruneEntries({ store, clock, log }: PruningParts): Promise<void> {
  for (const { id, spiffeId } of await store.entries.prune(clock.nowSeconds())) {
    log.info("Pruned an expired registration", { entry_id: id, spiffe_id: spiffeId.toString() });
  }
}

async function pruneNodes(parts: PruningParts, expiredForSeconds: number): Promise<void> {
  const { store, clock, log, includeTofuNodes, nodesBatchSize } = parts;
  const expiredBefore = clock.nowSeconds() - expiredForSeconds;
  const ids = await store.nodes.prune(expiredBefore, includeTofuNodes, nodesBatchSize);
  if (ids.length > 0) log.info("Pruned attested nodes", { count: ids.length });
}
