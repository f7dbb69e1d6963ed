import type { Database } from "bun:sqlite";
import { type EntryRow, SELECT_ENTRIES } from "#server/datastore/sqlite/rows/entry-row.ts";
import { type NodeRow, SELECT_NODES } from "#server/datastore/sqlite/rows/node-row.ts";
import { parseTextList } from "#server/datastore/sqlite/rows/selector-set.ts";
import { selectorKey } from "#spiffe/selector.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { deleteEntries } from "./entry-writes.ts";
import type { WriteContext, WriteFunctions } from "./write-context.ts";

type StoredNode = NodeRow & { seq: number };

export interface NodeWriteTypes {
  "nodes.put": { argument: NodeRow; result: undefined };
  "nodes.update": { argument: { spiffeId: string; change: Partial<NodeRow> }; result: NodeRow };
  "nodes.delete": { argument: string; result: NodeRow };
  "nodes.prune": {
    argument: { expiredBefore: number; includeTofu: boolean; limit: number };
    result: string[];
  };
}

export const nodeWrites: WriteFunctions<NodeWriteTypes> = {
  "nodes.put": (context, row) => {
    storeNode(context, row);
    return undefined;
  },

  "nodes.update": ({ db, changes }, { spiffeId, change }) => {
    const after = { ...storedNode(db, spiffeId), ...change };
    upsert(db, after);
    changes.storedNodes.push(after);
    return after;
  },

  "nodes.delete": (context, spiffeId) => {
    const node = storedNode(context.db, spiffeId);
    deleteNode(context, node);
    return node;
  },

  "nodes.prune": (context, { expiredBefore, includeTofu, limit }) => {
    const expired = context.db
      .query<StoredNode, [number, number, number]>(
        `${SELECT_NODES} WHERE not_after < ? AND serial_number <> '' AND can_reattest >= ? ORDER BY seq LIMIT ?`,
      )
      .all(expiredBefore, includeTofu ? 0 : 1, limit);
    for (const node of expired) deleteNode(context, node);
    return expired.map(({ spiffeId }) => spiffeId);
  },
};

/** Stores a node with its selectors in place of what was known under its SPIFFE ID. */
export function storeNode({ db, changes }: WriteContext, row: NodeRow): void {
  const stored = upsert(db, row);
  db.query("DELETE FROM node_selectors WHERE owner = ?").run(stored);
  const insert = db.query("INSERT INTO node_selectors (selector, owner) VALUES (?, ?)");
  for (const selector of parseTextList(row.selectorSet)) insert.run(selector, stored);
  changes.storedNodes.push(row);
}

/** Keeps the row's place in the order when the node is known. */
function upsert(db: Database, row: NodeRow): number {
  const stored = db
    .query<{ seq: number }, [Record<string, string | number>]>(
      `INSERT INTO nodes (spiffe_id, attestation_type, serial_number, not_after, new_serial_number, new_not_after,
        can_reattest, agent_version, selector_set)
      VALUES ($spiffeId, $attestationType, $serialNumber, $notAfter, $newSerialNumber, $newNotAfter,
        $canReattest, $agentVersion, $selectorSet)
      ON CONFLICT (spiffe_id) DO UPDATE SET attestation_type = excluded.attestation_type,
        serial_number = excluded.serial_number, not_after = excluded.not_after,
        new_serial_number = excluded.new_serial_number, new_not_after = excluded.new_not_after,
        can_reattest = excluded.can_reattest, agent_version = excluded.agent_version,
        selector_set = excluded.selector_set
      RETURNING seq`,
    )
    .get({ ...row });
  if (stored === null) throw new Error("storing a node returned no row");
  return stored.seq;
}

function storedNode(db: Database, spiffeId: string): StoredNode {
  const node = db.query<StoredNode, [string]>(`${SELECT_NODES} WHERE spiffe_id = ?`).get(spiffeId);
  if (node === null) throw new StatusError(StatusCode.NOT_FOUND, "agent not found");
  return node;
}

function deleteNode(context: WriteContext, node: NodeRow): void {
  const { db, changes } = context;
  if (node.attestationType === "join_token") deleteAlias(context, node.spiffeId);
  db.query("DELETE FROM join_tokens WHERE rejoins = ?").run(node.spiffeId);
  db.query("DELETE FROM nodes WHERE spiffe_id = ?").run(node.spiffeId);
  changes.removedNodes.push(node.spiffeId);
}

/**
 * Removes the entry that `token generate -spiffeID` made for the node: nobody else knows it, and no node will ever have this
 * SPIFFE ID again. Entries an operator made below the node stay.
 */
export function deleteAlias(context: WriteContext, node: string): void {
  const selectorSet = JSON.stringify([selectorKey({ type: "spiffe_id", value: node })]);
  const made = context.db
    .query<EntryRow, [string, string]>(`${SELECT_ENTRIES} WHERE selector_set = ? AND parent_id = ?`)
    .all(selectorSet, node);
  deleteEntries(context, made);
}
