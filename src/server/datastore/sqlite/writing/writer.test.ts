import type { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import { makeEntry } from "#server/datastore/records.conformance.ts";
import { openReadable } from "#server/datastore/sqlite/file/connection.ts";
import { prepareFile } from "#server/datastore/sqlite/file/file.ts";
import { entryRow } from "#server/datastore/sqlite/rows/entry-row.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { Writer } from "./writer.ts";

describe("writes that come together", () => {
  let directory: string;
  let writer: Writer;
  let reader: Database;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "spire-writer-"));
    const path = join(directory, "d.sqlite3");
    const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
    prepareFile(path, log);
    writer = await Writer.start(path, log);
    reader = openReadable(path);
  });
  afterEach(async () => {
    reader.close();
    await writer.close();
    rmSync(directory, { recursive: true });
  });

  /** Changes with every commit of another connection, and only then. */
  const commits = (): number =>
    reader.query<{ data_version: number }, []>("PRAGMA data_version").get()!.data_version;

  test("share a transaction: a thousand in one tick take a handful of commits", async () => {
    let seen = commits();
    let changed = 0;
    await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        await writer.write("entries.create", [entryRow(makeEntry(`e${i}`))]);
        const now = commits();
        if (now !== seen) changed += 1;
        seen = now;
      }),
    );
    expect(changed).toBeGreaterThan(0);
    expect(changed).toBeLessThanOrEqual(4);
    expect(reader.query("SELECT count(*) AS n FROM entries").get()).toEqual({ n: 1000 });
  });

  test("are each on their own: a refused one does not undo its neighbours, and is undone itself", async () => {
    const outcomes = await Promise.allSettled([
      writer.write("entries.create", [entryRow(makeEntry("a"))]),
      // The first row is fine; the second breaks a constraint of the schema after the first was written.
      writer.write("entries.create", [
        entryRow(makeEntry("undone")),
        { ...entryRow(makeEntry("broken")), hint: null as unknown as string },
      ]),
      writer.write("entries.delete", "missing"),
      writer.write("entries.create", [entryRow(makeEntry("b"))]),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "rejected",
      "fulfilled",
    ]);
    expect(outcomes[1]).toMatchObject({ reason: { code: StatusCode.INTERNAL } });
    expect(reader.query("SELECT id FROM entries ORDER BY id").all()).toEqual([
      { id: "a" },
      { id: "b" },
    ]);
  });

  test("are acknowledged in the order they were asked for", async () => {
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        writer
          .write("joinTokens.create", { digest: Uint8Array.of(i), expiresAt: i, rejoins: null })
          .then(() => order.push(i)),
      ),
    );
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  test("500 entries are one transaction", async () => {
    const before = commits();
    const rows = Array.from({ length: 500 }, (_, i) => entryRow(makeEntry(`e${i}`)));
    const results = await writer.write("entries.create", rows);
    expect(results).toHaveLength(500);
    expect(commits()).toBe(before + 1);
  });
});
