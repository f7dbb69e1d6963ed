import { SpiffeIdError } from "./spiffe-id-error.ts";
import { TrustDomain } from "./trust-domain.ts";

const SCHEME = "spiffe://";
const MAX_SPIFFE_ID_BYTES = 2048;

/**
 * A SPIFFE ID. A value of this class is always valid and in its one spelling, so IDs compare as strings.
 *
 * The rules are SPIFFE-ID §2: the scheme and trust domain in lowercase, path segments of letters, digits, dots, dashes
 * and underscores, no empty, `.` or `..` segment, no trailing slash, nothing percent-encoded, at most 2048 bytes.
 */
export class SpiffeId {
  readonly trustDomain: TrustDomain;
  /** Empty for the trust domain's own ID; otherwise starts with a slash. */
  readonly path: string;
  readonly #text: string;

  /** @param text the whole ID; a server holds hundreds of thousands, so it is not put together a second time */
  private constructor(trustDomain: TrustDomain, path: string, text: string) {
    this.trustDomain = trustDomain;
    this.path = path;
    this.#text = text;
  }

  /** @throws SpiffeIdError naming what is wrong with the text */
  static parse(text: string): SpiffeId {
    if (text === "") throw new SpiffeIdError("SPIFFE ID cannot be empty", text);
    if (text.length > MAX_SPIFFE_ID_BYTES) {
      throw new SpiffeIdError(`SPIFFE ID is longer than ${MAX_SPIFFE_ID_BYTES} bytes`, text);
    }
    if (!text.startsWith(SCHEME)) throw new SpiffeIdError("scheme is missing or invalid", text);
    const slash = text.indexOf("/", SCHEME.length);
    const name = slash === -1 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash);
    const trustDomain = TrustDomain.fromName(name, text);
    const path = slash === -1 ? "" : text.slice(slash);
    checkPath(path, text);
    return new SpiffeId(trustDomain, path, text);
  }

  /**
   * Joins a trust domain and a path that starts with a slash (or is empty).
   *
   * @throws SpiffeIdError when the path breaks SPIFFE-ID §2.2
   */
  static of(trustDomain: TrustDomain, path: string): SpiffeId {
    const text = `${SCHEME}${trustDomain.name}${path}`;
    if (path !== "" && !path.startsWith("/")) {
      throw new SpiffeIdError("path must have a leading slash", path);
    }
    if (text.length > MAX_SPIFFE_ID_BYTES) {
      throw new SpiffeIdError(`SPIFFE ID is longer than ${MAX_SPIFFE_ID_BYTES} bytes`, text);
    }
    checkPath(path, text);
    return new SpiffeId(trustDomain, path, text);
  }

  memberOf(trustDomain: TrustDomain): boolean {
    return this.trustDomain.equals(trustDomain);
  }

  equals(other: SpiffeId): boolean {
    return this.#text === other.#text;
  }

  toString(): string {
    return this.#text;
  }

  toJSON(): string {
    return this.#text;
  }
}

function checkPath(path: string, text: string): void {
  if (path === "") return;
  if (path.endsWith("/")) throw new SpiffeIdError("path cannot have a trailing slash", text);
  for (const segment of path.slice(1).split("/")) {
    if (segment === "") throw new SpiffeIdError("path cannot contain empty segments", text);
    if (segment === "." || segment === "..") {
      throw new SpiffeIdError("path cannot contain dot segments", text);
    }
    if (!/^[A-Za-z0-9._-]+$/.test(segment)) {
      throw new SpiffeIdError(
        "path segment characters are limited to letters, numbers, dots, dashes, and underscores",
        text,
      );
    }
  }
}
