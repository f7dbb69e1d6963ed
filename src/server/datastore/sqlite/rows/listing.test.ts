import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { countRows, listRows } from "./listing.ts";

test("a listing crosses wide gaps in the order, whatever the size of its pages", async () => {
  const db = new Database(":memory:", { strict: true });
  db.run("CREATE TABLE things (seq INTEGER PRIMARY KEY, kind TEXT)");
  const places = [1, 2, 19_999, 20_000, 20_001, 60_000, 60_001, 200_000];
  for (const seq of places) {
    db.query("INSERT INTO things VALUES (?, ?)").run(seq, seq === 60_000 ? "other" : "wanted");
  }
  const conditions = [{ sql: "kind = ?", values: ["wanted"] }];
  const wanted = places.filter((seq) => seq !== 60_000);
  const source = { table: "things", select: "SELECT seq FROM things" };
  for (const size of [0, 1, 2, 3, 7, 100]) {
    const found: number[] = [];
    let token = "";
    do {
      const page = await listRows(
        db,
        source,
        conditions,
        { size, token },
        (row: { seq: number }) => row.seq,
      );
      if (size !== 0 && page.nextToken !== "") expect(page.items).toHaveLength(size);
      found.push(...page.items);
      token = page.nextToken;
    } while (token !== "");
    expect(found).toEqual(wanted);
  }
  expect(await countRows(db, "things", conditions)).toBe(7);
});

test("a page longer than a chunk loses nothing between its chunks", async () => {
  const db = new Database(":memory:", { strict: true });
  db.run("CREATE TABLE things (seq INTEGER PRIMARY KEY)");
  const insert = db.query("INSERT INTO things VALUES (?)");
  const places = Array.from({ length: 1_600 }, (_, n) => n + 1);
  for (const seq of places) insert.run(seq);
  const source = { table: "things", select: "SELECT seq FROM things" };
  for (const size of [0, 1_600, 1_200]) {
    const { items, nextToken } = await listRows(
      db,
      source,
      [],
      { size, token: "" },
      (row: { seq: number }) => row.seq,
    );
    expect(items).toEqual(size === 0 ? places : places.slice(0, size));
    expect(nextToken).toBe(size === 1_200 ? "1200" : "");
  }
});
