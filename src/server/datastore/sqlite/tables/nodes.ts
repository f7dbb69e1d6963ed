import type { Database } from "bun:sqlite";
import type {
  AttestedNode,
  Listing,
  NodeChange,
  NodeFilter,
  Nodes,
  Page,
} from "#server/datastore/datastore.ts";
import { nodeConditions } from "#server/datastore/sqlite/rows/filter.ts";
import { countRows, listRows } from "#server/datastore/sqlite/rows/listing.ts";
import {
  type NodeRow,
  nodeFromRow,
  nodeRow,
  SELECT_NODES,
} from "#server/datastore/sqlite/rows/node-row.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";

export class SqliteNodes implements Nodes {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async put(node: AttestedNode): Promise<void> {
    await this.#writer.write("nodes.put", nodeRow(node));
  }

  async find(spiffeId: string): Promise<AttestedNode | undefined> {
    const row = this.#reader
      .query<NodeRow, [string]>(`${SELECT_NODES} WHERE spiffe_id = ?`)
      .get(spiffeId);
    return row === null ? undefined : nodeFromRow(row);
  }

  async list(filter: NodeFilter, page: Page): Promise<Listing<AttestedNode>> {
    return await listRows(
      this.#reader,
      { table: "nodes", select: SELECT_NODES },
      nodeConditions(filter),
      page,
      (row: NodeRow & { seq: number }) => nodeFromRow(row),
    );
  }

  async count(filter: NodeFilter): Promise<number> {
    return await countRows(this.#reader, "nodes", nodeConditions(filter));
  }

  async update(spiffeId: string, change: NodeChange): Promise<AttestedNode> {
    const { canReattest, ...plain } = change;
    const row = canReattest === undefined ? plain : { ...plain, canReattest: canReattest ? 1 : 0 };
    return nodeFromRow(await this.#writer.write("nodes.update", { spiffeId, change: row }));
  }

  async delete(spiffeId: string): Promise<AttestedNode> {
    return nodeFromRow(await this.#writer.write("nodes.delete", spiffeId));
  }

  prune(expiredBefore: number, includeTofu: boolean, limit: number): Promise<readonly string[]> {
    return this.#writer.write("nodes.prune", { expiredBefore, includeTofu, limit });
  }
}
