import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import type {
  AttestedNode,
  JoinOutcome,
  JoinToken,
  JoinTokenClaim,
  JoinTokens,
} from "#server/datastore/datastore.ts";
import { type NodeRow, nodeRow } from "#server/datastore/sqlite/rows/node-row.ts";
import { deleteAlias, storeNode } from "#server/datastore/sqlite/writing/node-writes.ts";
import type { WriteFunctions } from "#server/datastore/sqlite/writing/write-context.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/**
 * Join tokens let a node in, so this table holds their SHA-256 only: what reads it opens nothing. (The entry for a token's
 * alias, where one was asked for, names the token in its parent ID, on the wire as well; the protocol has it so.)
 */
export class SqliteJoinTokens implements JoinTokens {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async create(token: JoinToken): Promise<void> {
    const { expiresAt, rejoins = null } = token;
    const digest = digestOf(token.token);
    await this.#writer.write("joinTokens.create", { digest, expiresAt, rejoins });
  }

  async find(claim: JoinTokenClaim): Promise<JoinToken | undefined> {
    const found = findClaimed(this.#reader, claimRow(claim));
    if (found === null) return undefined;
    const { expiresAt, rejoins } = found;
    return { token: claim.token, expiresAt, ...(rejoins === null ? {} : { rejoins }) };
  }

  join(node: AttestedNode, claim: JoinTokenClaim): Promise<JoinOutcome> {
    return this.#writer.write("joinTokens.join", { node: nodeRow(node), claim: claimRow(claim) });
  }

  delete(token: string, newNode: string): Promise<DeleteOutcome> {
    return this.#writer.write("joinTokens.delete", { digest: digestOf(token), newNode });
  }

  deleteRejoin(node: string): Promise<boolean> {
    return this.#writer.write("joinTokens.deleteRejoin", node);
  }

  prune(expiredBefore: number, usedBefore: number): Promise<number> {
    return this.#writer.write("joinTokens.prune", { expiredBefore, usedBefore });
  }
}

/** A claim as the table and the writer thread know it. */
interface ClaimRow {
  digest: Uint8Array;
  publicKeySha256: Uint8Array;
  now: number;
  usedSince: number;
}

interface ClaimedToken {
  expiresAt: number;
  /** Null until the token let a node in. */
  usedAt: number | null;
  /** Null lets in a new node. */
  rejoins: string | null;
}

type DeleteOutcome = Awaited<ReturnType<JoinTokens["delete"]>>;

export interface JoinTokenWriteTypes {
  "joinTokens.create": {
    argument: { digest: Uint8Array; expiresAt: number; rejoins: string | null };
    result: undefined;
  };
  "joinTokens.join": { argument: { node: NodeRow; claim: ClaimRow }; result: JoinOutcome };
  "joinTokens.delete": { argument: { digest: Uint8Array; newNode: string }; result: DeleteOutcome };
  "joinTokens.deleteRejoin": { argument: string; result: boolean };
  "joinTokens.prune": {
    argument: { expiredBefore: number; usedBefore: number };
    result: number;
  };
}

export const joinTokenWrites: WriteFunctions<JoinTokenWriteTypes> = {
  "joinTokens.create": ({ db }, { digest, expiresAt, rejoins }) => {
    if (rejoins !== null) {
      if (!isStanding(db, rejoins)) throw new StatusError(StatusCode.NOT_FOUND, "agent not found");
      deleteRejoin(db, rejoins);
    }
    const { changes } = db
      .query(
        `INSERT INTO join_tokens (token_sha256, expires_at, rejoins) VALUES (?, ?, ?)
        ON CONFLICT (token_sha256) DO UPDATE
          SET expires_at = excluded.expires_at, rejoins = excluded.rejoins, used_at = NULL, public_key_sha256 = NULL
          WHERE used_at IS NOT NULL`,
      )
      .run(digest, expiresAt, rejoins);
    if (changes === 0)
      throw new StatusError(StatusCode.ALREADY_EXISTS, "join token already exists");
    return undefined;
  },

  "joinTokens.join": (context, { node, claim }) => {
    const { db } = context;
    const found = findClaimed(db, claim);
    if (found === null || found.expiresAt < claim.now) return "refused";
    if (found.rejoins !== null && found.rejoins !== node.spiffeId) return "refused";
    const again = found.usedAt !== null || found.rejoins !== null;
    if (again && !isStanding(db, node.spiffeId)) return "refused";
    db.query(
      "UPDATE join_tokens SET used_at = ?, public_key_sha256 = ? WHERE token_sha256 = ? AND used_at IS NULL",
    ).run(claim.now, claim.publicKeySha256, claim.digest);
    storeNode(context, node);
    return found.usedAt === null ? "taken" : "repeated";
  },

  "joinTokens.delete": (context, { digest, newNode }) => {
    const found = context.db
      .query<{ used: number }, [Uint8Array]>(
        "SELECT used_at IS NOT NULL AS used FROM join_tokens WHERE token_sha256 = ?",
      )
      .get(digest);
    if (found === null) return "unknown";
    if (found.used !== 0) return "used";
    context.db.query("DELETE FROM join_tokens WHERE token_sha256 = ?").run(digest);
    deleteAlias(context, newNode);
    return "deleted";
  },

  "joinTokens.deleteRejoin": ({ db }, node) => deleteRejoin(db, node),

  "joinTokens.prune": ({ db }, { expiredBefore, usedBefore }) =>
    db
      .query("DELETE FROM join_tokens WHERE expires_at < ? OR used_at < ?")
      .run(expiredBefore, usedBefore).changes,
};

/**
 * The token a claim is about, if it is good for the claimant, expired or not. A use that lies in the future does not count:
 * the clock was set back, and how long ago it was nobody knows.
 */
function findClaimed(db: Database, claim: ClaimRow): ClaimedToken | null {
  return db
    .query<ClaimedToken, [Uint8Array, Uint8Array, number, number]>(
      `SELECT expires_at AS expiresAt, used_at AS usedAt, rejoins FROM join_tokens
      WHERE token_sha256 = ? AND (used_at IS NULL OR (public_key_sha256 = ? AND used_at BETWEEN ? AND ?))`,
    )
    .get(claim.digest, claim.publicKeySha256, claim.usedSince, claim.now);
}

function deleteRejoin(db: Database, node: string): boolean {
  const unused = "DELETE FROM join_tokens WHERE rejoins = ? AND used_at IS NULL";
  return db.query(unused).run(node).changes > 0;
}

/** Whether the node is there and not banned. */
function isStanding(db: Database, spiffeId: string): boolean {
  return (
    db.query("SELECT 1 FROM nodes WHERE spiffe_id = ? AND serial_number <> ''").get(spiffeId) !==
    null
  );
}

function claimRow({ token, publicKeySha256, now, usedSince }: JoinTokenClaim): ClaimRow {
  return { digest: digestOf(token), publicKeySha256, now, usedSince };
}

function digestOf(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}
