import { describe, expect, test } from "bun:test";
import { parseJwtSvidUnverified } from "./claims.ts";

const HEADER = { alg: "ES256", kid: "key", typ: "JWT" };
const CLAIMS = { sub: "spiffe://example.org/db", aud: ["billing"], exp: 1_700_000_000 };

const encode = (value: string | Uint8Array): string => Buffer.from(value).toString("base64url");
const token = (header: object, claims: object): string =>
  `${encode(JSON.stringify(header))}.${encode(JSON.stringify(claims))}.${encode("signature")}`;

describe("a token", () => {
  test("says for whom it is, as one word or several", () => {
    expect(parseJwtSvidUnverified(token(HEADER, CLAIMS)).audience).toEqual(["billing"]);
    const one = { ...CLAIMS, aud: "billing" };
    expect(parseJwtSvidUnverified(token(HEADER, one)).audience).toEqual(["billing"]);
  });

  test.each<[string, object, string]>([
    ["without an audience", { aud: undefined }, "token missing aud claim"],
    ["for nobody", { aud: [] }, "token missing aud claim"],
    ["for an empty word", { aud: "" }, "token missing aud claim"],
    ["for empty words", { aud: ["", ""] }, "token missing aud claim"],
    ["for a number", { aud: 5 }, "token missing aud claim"],
    ["for a word and an empty one", { aud: ["billing", ""] }, "token has a malformed aud claim"],
    ["for a word and a number", { aud: ["billing", 5] }, "token has a malformed aud claim"],
    ["without a subject", { sub: undefined }, "token missing subject claim"],
    ["whose subject is empty", { sub: "" }, "token missing subject claim"],
    [
      "whose subject is no ID",
      { sub: "db" },
      'token has an invalid subject claim: scheme is missing or invalid: "db"',
    ],
    [
      "whose subject is a number",
      { sub: 5 },
      'token has an invalid subject claim: scheme is missing or invalid: "5"',
    ],
    ["without an end", { exp: undefined }, "token missing exp claim"],
    ["whose end is a text", { exp: "5" }, "token has a malformed exp claim"],
  ])("%s is refused", (_, change, problem) => {
    expect(() => parseJwtSvidUnverified(token(HEADER, { ...CLAIMS, ...change }))).toThrow(problem);
  });

  test("whose time is no number that ends is refused", () => {
    const claims = JSON.stringify({ ...CLAIMS, exp: 0 }).replace('"exp":0', '"exp":1e999');
    const [header = "", , signature = ""] = token(HEADER, CLAIMS).split(".");
    expect(() => parseJwtSvidUnverified(`${header}.${encode(claims)}.${signature}`)).toThrow(
      "token has a malformed exp claim",
    );
  });

  test.each<[string, object, string]>([
    ["without a key ID", { kid: undefined }, "token header missing key id"],
    ["with an empty key ID", { kid: "" }, "token header missing key id"],
    ["with a number as key ID", { kid: 5 }, "token header has a key id that is not a string"],
    ["of another type", { typ: "at+jwt" }, "token header type not equal to either JWT or JOSE"],
    ["without a signature", { alg: "none" }, 'unexpected signature algorithm "none"'],
  ])("%s is refused", (_, change, problem) => {
    expect(() => parseJwtSvidUnverified(token({ ...HEADER, ...change }, CLAIMS))).toThrow(problem);
  });

  test.each<[string, string | Uint8Array]>([
    ["a list", "[]"],
    ["null", "null"],
    ["a number", "5"],
    ["no JSON", "{"],
    ["no UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
  ])("whose payload is %s is refused", (_, payload) => {
    const [header = "", , signature = ""] = token(HEADER, CLAIMS).split(".");
    expect(() => parseJwtSvidUnverified(`${header}.${encode(payload)}.${signature}`)).toThrow(
      "unable to parse JWT token: payload is not a JSON object in base64url",
    );
  });

  test.each(["", "a", "a.b", "a.b.c.d"])("of other than three parts is refused: %p", (text) => {
    expect(() => parseJwtSvidUnverified(text)).toThrow("compact JWS format must have three parts");
  });
});
