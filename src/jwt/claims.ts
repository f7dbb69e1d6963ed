import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText } from "#spiffe/status-error.ts";

/** Above any token of use: an HTTP server takes far less in a header. */
const MAX_TOKEN_BYTES = 64 * 1024;

/** JWT-SVID §2.1. No `none`, and nothing symmetric: a public key must never pass for a shared secret. */
const ALGORITHMS: readonly string[] = [
  "RS256",
  "RS384",
  "RS512",
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
];

/** What a JWT-SVID says of itself. */
export interface JwtSvidClaims {
  readonly id: SpiffeId;
  readonly audience: readonly string[];
  /** Unix seconds. */
  readonly expiresAt: number;
  /** Unix seconds. */
  readonly issuedAt: number | undefined;
  /** Unix seconds. */
  readonly notBefore: number | undefined;
  readonly algorithm: string;
  readonly keyId: string;
  /** All claims, as they stand in the token. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/**
 * Reads a JWT-SVID and checks its form. NOTHING in the result is verified: neither who signed it, nor for whom, nor whether it has
 * expired. For looking up the key to verify with, and for tokens that come straight from the server.
 *
 * @throws Error saying what is wrong; never with any part of the token but its public claims
 */
export function parseJwtSvidUnverified(token: string): JwtSvidClaims {
  if (token.length > MAX_TOKEN_BYTES)
    throw new Error(`token is longer than ${MAX_TOKEN_BYTES} bytes`);
  const parts = token.split(".");
  const [header, payload, signature] = parts;
  // JWT-SVID §5.1: compact serialization only.
  if (
    parts.length !== 3 ||
    header === undefined ||
    payload === undefined ||
    signature === undefined
  ) {
    throw unparsable("compact JWS format must have three parts");
  }
  // One token, one text: what the decoder would pass over must not make another of it.
  decodePart(signature, "signature is not base64url");
  const claims = decodeObject(payload, "payload");
  return { ...readHeader(decodeObject(header, "header")), ...readClaims(claims), claims };
}

function readHeader(header: Record<string, unknown>): { algorithm: string; keyId: string } {
  const { alg, kid, typ } = header;
  if (typeof alg !== "string" || !ALGORITHMS.includes(alg)) {
    throw unparsable(`unexpected signature algorithm ${quoted(alg)}`);
  }
  // JWT-SVID §2.3.
  if (typ !== undefined && typ !== "JWT" && typ !== "JOSE") {
    throw new Error("token header type not equal to either JWT or JOSE");
  }
  // JWT-SVID §2.2 lets it be absent, but keys in a bundle have IDs (§6.1); the reference, too, refuses a token without.
  if (kid === undefined || kid === "") throw new Error("token header missing key id");
  if (typeof kid !== "string") throw new Error("token header has a key id that is not a string");
  return { algorithm: alg, keyId: kid };
}

function readClaims(
  claims: Record<string, unknown>,
): Pick<JwtSvidClaims, "id" | "audience" | "expiresAt" | "issuedAt" | "notBefore"> {
  const { sub } = claims;
  // JWT-SVID §3.1.
  if (sub === undefined || sub === "") throw new Error("token missing subject claim");
  // JWT-SVID §3.3.
  const expiresAt = numericDate(claims, "exp");
  if (expiresAt === undefined) throw new Error("token missing exp claim");
  return {
    id: subject(sub),
    audience: audience(claims["aud"]),
    expiresAt,
    issuedAt: numericDate(claims, "iat"),
    notBefore: numericDate(claims, "nbf"),
  };
}

function subject(sub: unknown): SpiffeId {
  try {
    return SpiffeId.parse(typeof sub === "string" ? sub : quoted(sub));
  } catch (error) {
    throw new Error(`token has an invalid subject claim: ${errorText(error)}`);
  }
}

/** RFC 7519 §4.1.3: one string, or an array of them. */
function audience(aud: unknown): readonly string[] {
  const values: readonly unknown[] =
    typeof aud === "string" ? [aud] : Array.isArray(aud) ? aud : [];
  const audiences = values.filter((value) => typeof value === "string" && value !== "") as string[];
  if (aud === undefined || audiences.length === 0) throw new Error("token missing aud claim");
  if (audiences.length !== values.length) throw new Error("token has a malformed aud claim");
  return audiences;
}

/** RFC 7519 §2, NumericDate: seconds, perhaps with a fraction. */
function numericDate(claims: Record<string, unknown>, name: string): number | undefined {
  const value = claims[name];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new Error(`token has a malformed ${name} claim`);
  }
  return Math.floor(value);
}

function decodeObject(part: string, name: string): Record<string, unknown> {
  const problem = `${name} is not a JSON object in base64url`;
  const bytes = decodePart(part, problem);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw unparsable(problem);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unparsable(problem);
  }
  return value as Record<string, unknown>;
}

/** RFC 7515 §2: base64url, without padding, blanks or left-over bits. */
function decodePart(part: string, problem: string): Uint8Array {
  const bytes = Buffer.from(part, "base64url");
  if (part === "" || bytes.toString("base64url") !== part) throw unparsable(problem);
  return bytes;
}

function unparsable(problem: string): Error {
  return new Error(`unable to parse JWT token: ${problem}`);
}

function quoted(value: unknown): string {
  return (JSON.stringify(value) ?? "none").slice(0, 100);
}
