import type { Database } from "bun:sqlite";
import type { BundleDeleteMode, Bundles, Listing, Page } from "#server/datastore/datastore.ts";
import {
  type BundleRow,
  bundleFromRow,
  bundleRow,
} from "#server/datastore/sqlite/rows/bundle-row.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

const SELECT_BUNDLES = "SELECT trust_domain AS trustDomain, document FROM bundles";

export class SqliteBundles implements Bundles {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async find(trustDomain: string): Promise<Bundle | undefined> {
    const row = this.#row(trustDomain);
    return row === null ? undefined : bundleFromRow(row);
  }

  async list(page: Page): Promise<Listing<Bundle>> {
    const rows = this.#reader
      .query<BundleRow, [string, number]>(
        `${SELECT_BUNDLES} WHERE trust_domain > ? ORDER BY trust_domain LIMIT ?`,
      )
      .all(page.token, page.size === 0 ? -1 : page.size + 1);
    const more = page.size !== 0 && rows.length > page.size;
    if (more) rows.pop();
    return {
      items: rows.map(bundleFromRow),
      nextToken: more ? (rows.at(-1)?.trustDomain ?? "") : "",
    };
  }

  async count(): Promise<number> {
    const row = this.#reader
      .query<{ total: number }, []>("SELECT count(*) AS total FROM bundles")
      .get();
    return row?.total ?? 0;
  }

  async create(bundle: Bundle): Promise<void> {
    await this.#writer.write("bundles.create", bundleRow(bundle));
  }

  async set(bundle: Bundle): Promise<void> {
    await this.#writer.write("bundles.set", bundleRow(bundle));
  }

  async append(addition: Bundle): Promise<Bundle> {
    return bundleFromRow(await this.#writer.write("bundles.append", bundleRow(addition)));
  }

  /** The change cannot cross to the writer thread, so it is tried on what is read until nobody else wrote in between. */
  async update(
    trustDomain: string,
    change: (bundle: Bundle) => Bundle | undefined,
  ): Promise<Bundle> {
    for (;;) {
      const expected = this.#row(trustDomain);
      if (expected === null) throw new StatusError(StatusCode.NOT_FOUND, "bundle not found");
      const before = bundleFromRow(expected);
      const after = change(before);
      if (after === undefined) return before;
      const { document } = bundleRow(after);
      if (await this.#writer.write("bundles.replace", { expected, document })) return after;
    }
  }

  async delete(trustDomain: string, mode: BundleDeleteMode): Promise<void> {
    await this.#writer.write("bundles.delete", { trustDomain, mode });
  }

  #row(trustDomain: string): BundleRow | null {
    return this.#reader
      .query<BundleRow, [string]>(`${SELECT_BUNDLES} WHERE trust_domain = ?`)
      .get(trustDomain);
  }
}
