import { formatBundleDocument } from "#jwt/bundle-document.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/**
 * The trust domain's own bundle as the endpoint serves it. It is encoded once, and anew when the bundle changed: however many ask, the
 * answer costs nothing.
 *
 * @param refreshHintSeconds replaces the bundle's own
 * @returns gives the document as it is now; throws when there is no bundle
 */
export function ownBundleDocument(
  store: Pick<DataStore, "bundles" | "onChange">,
  { name }: TrustDomain,
  refreshHintSeconds: number,
): () => Promise<Buffer> {
  let encoded: Promise<Buffer> | undefined;
  store.onChange(({ bundles }) => {
    if (bundles.includes(name)) encoded = undefined;
  });
  const encode = async (): Promise<Buffer> => {
    const bundle = await store.bundles.find(name);
    if (bundle === undefined) throw new Error("trust domain bundle not found");
    return Buffer.from(formatBundleDocument({ ...bundle, refreshHint: refreshHintSeconds }));
  };
  return () => {
    if (encoded !== undefined) return encoded;
    const work = encode();
    encoded = work;
    // A failure is not remembered: the next request reads again.
    work.catch(() => {
      if (encoded === work) encoded = undefined;
    });
    return work;
  };
}
