/**
 * Tainted authorities: still trusted, so that nothing breaks, but what they signed is to be replaced at once. An authority may be the
 * server's own CA, or stand above it; then the chain of an SVID carries the intermediates below it.
 */
import type { Signatory } from "#agent/cache/x509-svids.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { Certificate } from "#x509/certificate.ts";

/** What a server signs by a tainted authority even now is to be replaced after that many seconds; it may have nothing better yet. */
export const TAINTED_LIFE_SECONDS = 30;

/** The authority that a chain ends below. @param chain DER, leaf first. @throws Error when there is no certificate or it is malformed */
export function signatoryOf(chain: readonly Uint8Array[]): Signatory {
  const { issuerDer, extensions } = Certificate.parse(chain.at(-1) ?? new Uint8Array());
  return { name: hex(issuerDer), keyId: hex(extensions.authorityKeyId) };
}

/** Authorities that were not tainted before. */
export interface NewlyTainted {
  /** Of their keys, in hexadecimal digits; empty where a certificate names none. */
  readonly keyIds: readonly string[];
  /** Whether one of them signed it. */
  readonly signed: (signatory: Signatory) => boolean;
}

export class TaintedAuthorities {
  #known: readonly Signatory[] = [];

  /**
   * Takes the tainted authorities of our own bundle.
   *
   * @returns those that were not tainted before; undefined when there are none
   */
  update({ x509Authorities }: Bundle): NewlyTainted | undefined {
    const tainted = x509Authorities.flatMap((authority) => {
      if (!authority.tainted) return [];
      const { subjectDer, extensions } = Certificate.parse(authority.certificate);
      return [{ name: hex(subjectDer), keyId: hex(extensions.subjectKeyId) }];
    });
    const fresh = tainted.filter(
      ({ name, keyId }) => !this.#known.some((one) => one.name === name && one.keyId === keyId),
    );
    this.#known = tainted;
    if (fresh.length === 0) return undefined;
    return {
      keyIds: fresh.map(({ keyId }) => keyId),
      signed: (signatory) => signed(fresh, signatory),
    };
  }

  /** Whether one of the tainted authorities signed it. */
  signed(signatory: Signatory): boolean {
    return signed(this.#known, signatory);
  }
}

/** RFC 5280 §4.2.1.1: keys have IDs so that authorities of one name can be told apart; where one lacks it, the name alone counts. */
function signed(authorities: readonly Signatory[], { name, keyId }: Signatory): boolean {
  return authorities.some((authority) =>
    authority.keyId === "" || keyId === "" ? authority.name === name : authority.keyId === keyId,
  );
}

function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : Buffer.from(bytes).toString("hex");
}
