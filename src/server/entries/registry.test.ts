import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import type { DataStore, Entries } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { EntryRegistry } from "./registry.ts";

const trustDomain = TrustDomain.parse("example.org");
const node = makeNode("a");
const parentId = SpiffeId.parse(node.spiffeId);

describe("the registry", () => {
  let directory: string;
  let store: DataStore;
  let registry: EntryRegistry;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "spire-registry-"));
    const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
    store = await openSqliteDataStore({ path: join(directory, "d.sqlite3"), log });
    await store.nodes.put(node);
    await store.entries.create([
      makeEntry("child", { parentId }),
      makeEntry("alias", {
        parentId: SpiffeId.parse("spiffe://example.org/spire/server"),
        spiffeId: SpiffeId.parse("spiffe://example.org/group"),
        selectors: node.selectors,
      }),
      makeEntry("by-alias", { parentId: SpiffeId.parse("spiffe://example.org/group") }),
    ]);
    registry = await EntryRegistry.open(store, trustDomain);
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  const authorized = (): string[] =>
    registry
      .authorizedEntries(node.spiffeId)
      .map(({ id }) => id)
      .sort();

  test("knows what was stored before", () => {
    expect(authorized()).toEqual(["by-alias", "child"]);
  });

  test("answers by a write as soon as it resolved, and tells its listeners then", async () => {
    const told: string[][] = [];
    registry.onChange(() => told.push(authorized()));
    await registry.create([makeEntry("new", { parentId })]);
    expect(authorized()).toEqual(["by-alias", "child", "new"]);
    await registry.update("child", { parentId: SpiffeId.parse("spiffe://example.org/away") });
    expect(authorized()).toEqual(["by-alias", "new"]);
    await registry.delete("new");
    expect(authorized()).toEqual(["by-alias"]);
    expect(told).toEqual([["by-alias", "child", "new"], ["by-alias", "new"], ["by-alias"]]);
  });

  test("follows nodes, whoever writes them: without its selectors an agent loses its alias", async () => {
    await store.nodes.put({ ...node, selectors: [] });
    expect(authorized()).toEqual(["child"]);
    await store.nodes.put(node);
    expect(authorized()).toEqual(["by-alias", "child"]);
    await store.nodes.delete(node.spiffeId);
    expect(authorized()).toEqual(["child"]);
  });

  test("misses nothing that is written while it reads the store", async () => {
    const list: Entries["list"] = async (filter, page) => {
      const listing = await store.entries.list(filter, page);
      await store.entries.delete("child");
      await store.entries.create([makeEntry("meanwhile", { parentId })]);
      return listing;
    };
    const entries = Object.assign({} as Entries, { list });
    registry = await EntryRegistry.open({ ...store, entries }, trustDomain);
    expect(authorized()).toEqual(["by-alias", "meanwhile"]);
  });
});
