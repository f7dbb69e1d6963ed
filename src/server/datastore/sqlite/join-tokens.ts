import { createHash } from "node:crypto";
import type { JoinToken, JoinTokens } from "#server/datastore/datastore.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { WriteFunctions } from "./write-context.ts";
import type { Writer } from "./writer.ts";

/** Join tokens let a node in, so the file holds their SHA-256 only: a copy of the file, a backup, opens nothing. */
export class SqliteJoinTokens implements JoinTokens {
  readonly #writer: Writer;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  async create(token: JoinToken): Promise<void> {
    const { expiresAt } = token;
    await this.#writer.write("joinTokens.create", { digest: digestOf(token.token), expiresAt });
  }

  async take(token: string): Promise<JoinToken | undefined> {
    const expiresAt = await this.#writer.write("joinTokens.take", digestOf(token));
    return expiresAt === undefined ? undefined : { token, expiresAt };
  }

  prune(expiredBefore: number): Promise<number> {
    return this.#writer.write("joinTokens.prune", expiredBefore);
  }
}

export interface JoinTokenWriteTypes {
  "joinTokens.create": { argument: { digest: Uint8Array; expiresAt: number }; result: undefined };
  /** From the digest to the moment the token expires; undefined when there is none. */
  "joinTokens.take": { argument: Uint8Array; result: number | undefined };
  "joinTokens.prune": { argument: number; result: number };
}

export const joinTokenWrites: WriteFunctions<JoinTokenWriteTypes> = {
  "joinTokens.create": ({ db }, { digest, expiresAt }) => {
    const { changes } = db
      .query(
        "INSERT INTO join_tokens (token_sha256, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
      )
      .run(digest, expiresAt);
    if (changes === 0)
      throw new StatusError(StatusCode.ALREADY_EXISTS, "join token already exists");
    return undefined;
  },

  "joinTokens.take": ({ db }, digest) =>
    db
      .query<{ expiresAt: number }, [Uint8Array]>(
        "DELETE FROM join_tokens WHERE token_sha256 = ? RETURNING expires_at AS expiresAt",
      )
      .get(digest)?.expiresAt,

  "joinTokens.prune": ({ db }, expiredBefore) =>
    db.query("DELETE FROM join_tokens WHERE expires_at < ?").run(expiredBefore).changes,
};

function digestOf(token: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(token).digest());
}
