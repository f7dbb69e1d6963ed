import type { Database } from "bun:sqlite";
import { setImmediate } from "node:timers/promises";
import type { Listing, Page } from "#server/datastore/datastore.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Condition } from "./filter.ts";

/** Rows read without letting others run; 500 take a few milliseconds. */
const CHUNK_ROWS = 500;
/**
 * Places in the order looked at without letting others run. It bounds what a filter costs that nearly every record passes,
 * or nearly none: a lookup in the table of selectors, say, of one that all entries have.
 */
const WINDOW = 20_000;

/**
 * Reads a page in storage order. The token is the `seq` of the page's last record (keyset paging), so records created or
 * deleted between two pages neither repeat nor hide another one. A long page is read in chunks, between which other work runs.
 *
 * @param select a SELECT from the table that gives `seq`, without WHERE
 */
export async function listRows<Row extends { seq: number }, Item>(
  reader: Database,
  { table, select }: { table: string; select: string },
  conditions: readonly Condition[],
  page: Page,
  fromRow: (row: Row) => Item,
): Promise<Listing<Item>> {
  const { where, values } = whereInWindow(conditions);
  const statement = reader.query<Row, (string | number)[]>(
    `${select} WHERE ${where} ORDER BY seq LIMIT ?`,
  );
  const end = lastSeq(reader, table);
  const items: Item[] = [];
  let lastItem = seqOf(page.token);
  for (let last = lastItem; last < end; await setImmediate()) {
    const missing = page.size === 0 ? CHUNK_ROWS : page.size - items.length;
    const take = Math.min(missing, CHUNK_ROWS);
    // One more than is taken tells whether anything follows.
    const rows = statement.all(last, last + WINDOW, ...values, take + 1);
    for (const row of rows.slice(0, take)) {
      items.push(fromRow(row));
      lastItem = row.seq;
    }
    const more = rows.length > take;
    if (more && take === missing && page.size !== 0) {
      return { items, nextToken: String(lastItem) };
    }
    last = more ? lastItem : last + WINDOW;
  }
  return { items, nextToken: "" };
}

export async function countRows(
  reader: Database,
  table: string,
  conditions: readonly Condition[],
): Promise<number> {
  const { where, values } = whereInWindow(conditions);
  const statement = reader.query<{ total: number }, (string | number)[]>(
    `SELECT count(*) AS total FROM ${table} WHERE ${where}`,
  );
  const end = lastSeq(reader, table);
  let total = 0;
  for (let last = 0; last < end; last += WINDOW, await setImmediate()) {
    total += statement.get(last, last + WINDOW, ...values)?.total ?? 0;
  }
  return total;
}

/** Parameters 1 and 2 are the bounds of the window; conditions refer to them, too. */
function whereInWindow(conditions: readonly Condition[]): {
  where: string;
  values: (string | number)[];
} {
  return {
    where: ["seq > ?1 AND seq <= ?2", ...conditions.map(({ sql }) => sql)].join(" AND "),
    values: conditions.flatMap((condition) => condition.values),
  };
}

function lastSeq(reader: Database, table: string): number {
  const row = reader
    .query<{ last: number | null }, []>(`SELECT max(seq) AS last FROM ${table}`)
    .get();
  return row?.last ?? 0;
}

function seqOf(token: string): number {
  if (token === "") return 0;
  if (!/^[0-9]{1,15}$/.test(token)) {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, `could not parse token '${token}'`);
  }
  return Number(token);
}
