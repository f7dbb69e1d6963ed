import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { ownBundleDocument } from "./document.ts";

const trustDomain = TrustDomain.parse("example.org");
const bundle = { ...emptyBundle(trustDomain), sequenceNumber: 3, refreshHint: 60 };

let directory: string;
let store: DataStore;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "spire-document-"));
  const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
  store = await openSqliteDataStore({ path: join(directory, "db"), log });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

test("the document is the bundle as it is now, with the configured hint, and encoded once", async () => {
  const document = ownBundleDocument(store, trustDomain, 300);
  await store.bundles.set(bundle);
  const first = await document();
  expect(JSON.parse(first.toString())).toEqual({
    keys: [],
    spiffe_sequence: 3,
    spiffe_refresh_hint: 300,
  });
  await store.bundles.set(emptyBundle(TrustDomain.parse("other.org")));
  expect(await document()).toBe(first);
  await store.bundles.set({ ...bundle, sequenceNumber: 4 });
  expect(JSON.parse((await document()).toString())).toMatchObject({ spiffe_sequence: 4 });
});

test("without a bundle there is none, until there is one", async () => {
  const document = ownBundleDocument(store, trustDomain, 300);
  const problem = await document().then(
    () => "",
    (error: Error) => error.message,
  );
  expect(problem).toBe("trust domain bundle not found");
  await store.bundles.set(bundle);
  expect(JSON.parse((await document()).toString())).toMatchObject({ spiffe_sequence: 3 });
});
