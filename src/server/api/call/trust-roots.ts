import type { DataStore } from "#server/datastore/datastore.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";

type Roots = readonly Certificate[] | undefined;

/** The X.509 authorities of the stored bundles, parsed when they change and not once a call. */
export class TrustRoots {
  readonly #store: Pick<DataStore, "bundles" | "onChange">;
  readonly #known = new Map<string, Promise<Roots>>();

  constructor(store: Pick<DataStore, "bundles" | "onChange">) {
    this.#store = store;
    store.onChange(({ bundles }) => {
      for (const trustDomain of bundles) this.#known.delete(trustDomain);
    });
  }

  /**
   * The authorities of a trust domain, or undefined when there is no bundle. The same array comes back for as long as
   * nothing changed, so that what was verified with it can be remembered.
   */
  rootsOf({ name }: TrustDomain): Promise<Roots> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const roots = this.#read(name);
    this.#known.set(name, roots);
    // A failure is not remembered: the next call reads again.
    roots.catch(() => this.#known.delete(name));
    return roots;
  }

  async #read(name: string): Promise<Roots> {
    const bundle = await this.#store.bundles.find(name);
    return bundle?.x509Authorities.map(({ certificate }) => Certificate.parse(certificate));
  }
}
