import { SpiffeIdError } from "./spiffe-id-error.ts";

const MAX_TRUST_DOMAIN_BYTES = 255;
/** Names of which one value is shared: a server's IDs are nearly all of a few trust domains. */
const SHARED = 64;
const shared = new Map<string, TrustDomain>();

/**
 * A trust domain name. A value of this class is always valid, so nothing that takes one checks it again.
 *
 * SPIFFE-ID §2.1 allows lowercase letters, digits, dots, dashes and underscores; §2.3 limits the length to 255 bytes.
 */
export class TrustDomain {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /**
   * Reads a trust domain from its name (`example.org`) or from any SPIFFE ID in it (`spiffe://example.org/x`),
   * as the reference does for configuration and command-line values.
   *
   * @throws SpiffeIdError when the name is not a valid trust domain
   */
  static parse(text: string): TrustDomain {
    if (text === "") throw new SpiffeIdError("trust domain is missing", text);
    let name = text;
    if (text.includes(":/")) {
      if (!text.startsWith("spiffe://")) {
        throw new SpiffeIdError("scheme is missing or invalid", text);
      }
      const slash = text.indexOf("/", "spiffe://".length);
      name = text.slice("spiffe://".length, slash === -1 ? undefined : slash);
    }
    return TrustDomain.fromName(name, text);
  }

  /**
   * Reads a bare trust domain name.
   *
   * @throws SpiffeIdError when the name is not a valid trust domain
   */
  static fromName(name: string, whole: string = name): TrustDomain {
    const known = shared.get(name);
    if (known !== undefined) return known;
    if (name === "") throw new SpiffeIdError("trust domain is missing", whole);
    if (!/^[a-z0-9._-]+$/.test(name)) {
      throw new SpiffeIdError(
        "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
        whole,
      );
    }
    if (name.length > MAX_TRUST_DOMAIN_BYTES) {
      throw new SpiffeIdError(`trust domain is longer than ${MAX_TRUST_DOMAIN_BYTES} bytes`, whole);
    }
    const trustDomain = new TrustDomain(name);
    if (shared.size < SHARED) shared.set(name, trustDomain);
    return trustDomain;
  }

  /** The SPIFFE ID of the trust domain itself, `spiffe://name`. */
  get id(): string {
    return `spiffe://${this.name}`;
  }

  equals(other: TrustDomain): boolean {
    return this.name === other.name;
  }

  toString(): string {
    return this.name;
  }

  toJSON(): string {
    return this.name;
  }
}
