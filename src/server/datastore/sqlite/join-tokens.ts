import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import type {
  AttestedNode,
  JoinOutcome,
  JoinToken,
  JoinTokenClaim,
  JoinTokens,
} from "#server/datastore/datastore.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type NodeRow, nodeRow } from "./node-row.ts";
import { storeNode } from "./node-writes.ts";
import type { WriteFunctions } from "./write-context.ts";
import type { Writer } from "./writer.ts";

/** Join tokens let a node in, so the file holds their SHA-256 only: a copy of the file, a backup, opens nothing. */
export class SqliteJoinTokens implements JoinTokens {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async create(token: JoinToken): Promise<void> {
    const { expiresAt } = token;
    await this.#writer.write("joinTokens.create", { digest: digestOf(token.token), expiresAt });
  }

  async find(claim: JoinTokenClaim): Promise<JoinToken | undefined> {
    const found = findClaimed(this.#reader, claimRow(claim));
    return found === null ? undefined : { token: claim.token, expiresAt: found.expiresAt };
  }

  join(node: AttestedNode, claim: JoinTokenClaim): Promise<JoinOutcome> {
    return this.#writer.write("joinTokens.join", { node: nodeRow(node), claim: claimRow(claim) });
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
}

export interface JoinTokenWriteTypes {
  "joinTokens.create": { argument: { digest: Uint8Array; expiresAt: number }; result: undefined };
  "joinTokens.join": { argument: { node: NodeRow; claim: ClaimRow }; result: JoinOutcome };
  "joinTokens.prune": {
    argument: { expiredBefore: number; usedBefore: number };
    result: number;
  };
}

export const joinTokenWrites: WriteFunctions<JoinTokenWriteTypes> = {
  "joinTokens.create": ({ db }, { digest, expiresAt }) => {
    const { changes } = db
      .query(
        `INSERT INTO join_tokens (token_sha256, expires_at) VALUES (?, ?)
        ON CONFLICT (token_sha256) DO UPDATE
          SET expires_at = excluded.expires_at, used_at = NULL, public_key_sha256 = NULL
          WHERE used_at IS NOT NULL`,
      )
      .run(digest, expiresAt);
    if (changes === 0)
      throw new StatusError(StatusCode.ALREADY_EXISTS, "join token already exists");
    return undefined;
  },

  "joinTokens.join": (context, { node, claim }) => {
    const { db } = context;
    const found = findClaimed(db, claim);
    if (found === null || found.expiresAt < claim.now) return "refused";
    if (found.usedAt !== null) {
      if (!isStanding(db, node.spiffeId)) return "refused";
      storeNode(context, node);
      return "repeated";
    }
    db.query(
      "UPDATE join_tokens SET used_at = ?, public_key_sha256 = ? WHERE token_sha256 = ?",
    ).run(claim.now, claim.publicKeySha256, claim.digest);
    storeNode(context, node);
    return "taken";
  },

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
      `SELECT expires_at AS expiresAt, used_at AS usedAt FROM join_tokens
      WHERE token_sha256 = ? AND (used_at IS NULL OR (public_key_sha256 = ? AND used_at BETWEEN ? AND ?))`,
    )
    .get(claim.digest, claim.publicKeySha256, claim.usedSince, claim.now);
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
