/**
 * Creates entries until it is killed, and prints the ID of each when the store has acknowledged it.
 *
 *   bun test/faults/create-entries.ts DATABASE PREFIX
 */
import { writeSync } from "node:fs";
import { createLog } from "#log/log.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

const [path = "", prefix = ""] = process.argv.slice(2);
const log = createLog({ level: "error", format: "text" }, Date.now, {
  write: (line) => void writeSync(2, line),
});
const store = await openSqliteDataStore({ path, log });

/** Singles from many callers at once, batches in between: every way a write can share a transaction. */
async function createForEver(caller: number): Promise<never> {
  for (let n = 0; ; n += 1) {
    const size = caller === 0 ? 100 : 1;
    const ids = Array.from({ length: size }, (_, i) => `${prefix}.${caller}.${n}.${i}`);
    const results = await store.entries.create(
      ids.map((id) => makeEntry(id, { spiffeId: SpiffeId.parse(`spiffe://example.org/${id}`) })),
    );
    if (results.some((result) => result instanceof Error || !result.created)) {
      throw new Error("an entry was refused");
    }
    writeSync(1, ids.map((id) => `created ${id}\n`).join(""));
    await store.nodes.put(makeNode(`${prefix}.${caller}`));
  }
}

await Promise.all(Array.from({ length: 8 }, (_, caller) => createForEver(caller)));
