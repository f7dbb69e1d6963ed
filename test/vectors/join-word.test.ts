import { describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import { formatHostPort, parseHostPort, parseServerAddress } from "#spiffe/host-port.ts";
import { JoinWord, JoinWordError, type JoinWordFields } from "#spiffe/join-word.ts";
import { looksLikeJoinWord, withoutJoinWords } from "#spiffe/secret-text.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

const TOKEN = "4e1243bd-22c6-46bc-8fb0-f64fca5a1d2c";
const FIELDS: JoinWordFields = {
  trustDomain: TrustDomain.parse("example.org"),
  address: { host: "server.example.org", port: 8081 },
  token: TOKEN,
  fingerprints: ["b".repeat(64), "a".repeat(64)],
};
const WORD = JoinWord.of(FIELDS).reveal();
/** As the first release wrote it. */
const FIXED =
  "spirejoin1_1jRjLsW0mCYfm9QZcfC2Pf2y8i4vKV38gcilo0LmvK2iGCRdRrBZ3QtvX4dxiTMiWauFJyyrrYent8hKOQyLjeOFSq1CAFmGlrxQJG1ONFk42IZAk0IcGrhXHK8WMYMfgTi0fH0TfrZrqG8i9o1AkwO5lpW3GgfR";

const changed = (change: Partial<JoinWordFields>): JoinWord =>
  JoinWord.of({ ...FIELDS, ...change });

describe("a join word", () => {
  test("is one word of letters, digits and underscores, with a beginning of its own", () => {
    expect(WORD).toMatch(/^spirejoin1_[0-9A-Za-z]+$/);
    expect(WORD.length).toBeLessThan(180);
  });

  test("says what was put in, each authority once and in order", () => {
    const { trustDomain, address, token, fingerprints } = JoinWord.parse(` ${WORD}\n`);
    expect({ trustDomain: trustDomain.name, address, token, fingerprints }).toEqual({
      trustDomain: "example.org",
      address: FIELDS.address,
      token: TOKEN,
      fingerprints: ["a".repeat(64), "b".repeat(64)],
    });
    expect(changed({ fingerprints: [...FIELDS.fingerprints, "a".repeat(64)] }).reveal()).toBe(WORD);
  });

  test("of version 1 stays readable", () => {
    expect(WORD).toBe(FIXED);
  });

  test.each([
    ["a token that is no UUID", { token: "of-my.own_1" }],
    ["a token like a UUID, but in capitals", { token: TOKEN.toUpperCase() }],
    ["an IPv6 address", { address: { host: "2001:db8::1", port: 1 } }],
    ["an IPv4 address", { address: { host: "192.0.2.1", port: 65_535 } }],
    [
      "the longest of everything",
      {
        trustDomain: TrustDomain.parse("t".repeat(255)),
        address: { host: "h".repeat(253), port: 443 },
        token: "T".repeat(255),
        fingerprints: Array.from({ length: 16 }, (_, index) =>
          index.toString(16).padStart(64, "f"),
        ),
      },
    ],
  ])("carries %s", (_, change: Partial<JoinWordFields>) => {
    const word = changed(change);
    expect(JoinWord.parse(word.reveal())).toMatchObject({
      ...FIELDS,
      ...change,
      fingerprints: word.fingerprints,
    });
    expect(word.reveal().length).toBeLessThan(2048);
  });

  test.each([
    ["no authority", { fingerprints: [] }],
    [
      "seventeen authorities",
      { fingerprints: Array.from({ length: 17 }, (_, i) => String(i + 10).padStart(64, "0")) },
    ],
    ["half a fingerprint", { fingerprints: ["ab".repeat(16)] }],
    ["a token that cannot be part of a SPIFFE ID", { token: "a/b" }],
    ["a token that is a dot segment", { token: ".." }],
    ["a port that is none", { address: { host: "a", port: 0 } }],
    ["a host with a zone", { address: { host: "fe80::1%eth0", port: 1 } }],
    ["a host that is a flag", { address: { host: "-x", port: 1 } }],
  ])("is not made with %s", (_, change: Partial<JoinWordFields>) => {
    expect(() => changed(change)).toThrow(JoinWordError);
  });

  test.each([
    ["nothing", " \n", "empty"],
    ["a token", TOKEN, "this is no join word"],
    ["its beginning alone", "spirejoin1_", "damaged"],
    ["a word that was cut off", WORD.slice(0, -1), "damaged"],
    ["a word without its first digit", WORD.slice(0, 11) + WORD.slice(12), "damaged"],
    [
      "a word with two digits swapped",
      `${WORD.slice(0, 20)}${WORD[21]}${WORD[20]}${WORD.slice(22)}`,
      "damaged",
    ],
    ["a word with another character", `${WORD.slice(0, -1)}-`, "damaged"],
    ["a word of two lines", `${WORD.slice(0, 40)}\n${WORD.slice(40)}`, "broken by white space"],
    ["two words", `${WORD} ${WORD}`, "broken by white space"],
    ["a word with a zero before it", WORD.replace("1_", "1_0"), "not in its one form"],
    ["a word of another version", WORD.replace("1_", "2_"), "later version"],
    ["a long text", WORD.repeat(20), "too long"],
  ])("is not %s", (_, text, problem) => {
    expect(() => JoinWord.parse(text)).toThrow(problem);
    expect(() => JoinWord.parse(text)).toThrow(JoinWordError);
  });

  test("does not show its token to whoever prints it", () => {
    const word = JoinWord.parse(WORD);
    for (const shown of [`${word}`, JSON.stringify({ word }), inspect(word, { depth: 9 })]) {
      expect(shown).not.toContain(TOKEN);
      expect(shown).not.toContain(WORD);
    }
  });

  test("is cut out of messages", () => {
    expect(withoutJoinWords(`-x=${WORD}.`)).toBe("-x=spirejoin….");
    expect(withoutJoinWords("nothing to hide")).toBe("nothing to hide");
    expect(looksLikeJoinWord(` ${WORD}`)).toBe(true);
    expect(looksLikeJoinWord(TOKEN)).toBe(false);
  });
});

describe("an address", () => {
  test.each([
    ["server", { host: "server" }],
    ["server.example.org:8081", { host: "server.example.org", port: 8081 }],
    ["192.0.2.1:1", { host: "192.0.2.1", port: 1 }],
    ["::1", { host: "::1" }],
    ["[2001:db8::1]", { host: "2001:db8::1" }],
    ["[2001:db8::1]:65535", { host: "2001:db8::1", port: 65_535 }],
  ])("%s", (text, expected) => {
    const read = parseHostPort(text);
    expect(read).toEqual(expected);
    if (read.port !== undefined) expect(formatHostPort({ ...read, port: read.port })).toBe(text);
  });

  test.each([
    "",
    ":1",
    "a:",
    "a:0",
    "a:65536",
    "a:x",
    "a b",
    "[::1",
    "::1]:5",
    "[server]:1",
    "fe80::1%eth0",
    "https://a",
    "a/b",
  ])("is not %p", (text) => expect(() => parseHostPort(text)).toThrow("is no address of a server"));

  test.each([
    ["server", 8081, { host: "server", port: 8081 }],
    ["server:8081", 8081, { host: "server", port: 8081 }],
    ["server:8081", undefined, { host: "server", port: 8081 }],
    ["[::1]", 8081, { host: "::1", port: 8081 }],
    ["fe80::1%eth0", 1, { host: "fe80::1%eth0", port: 1 }],
    ["[fe80::1%eth0]:1", undefined, { host: "fe80::1%eth0", port: 1 }],
    ["server", undefined, { host: "server" }],
  ])("%s, with port %p", (text, port, expected) => {
    expect(parseServerAddress(text, port)).toEqual(expected);
  });

  test.each([
    ["server:1", 2, "leave one out"],
    ["server", 0, "no port number"],
    ["server", 70_000, "no port number"],
    ["https://server", 1, "is no address of a server"],
    ["::1%et/h0", 1, "is no address of a server"],
  ])("is not %s with port %p", (text, port, problem) => {
    expect(() => parseServerAddress(text, port)).toThrow(problem);
  });

  test("that is a join word by mistake is not quoted", () => {
    expect(() => parseHostPort(WORD)).toThrow('"spirejoin…" is no address');
    expect(() => parseHostPort(`${WORD}:x`)).toThrow('"spirejoin…:x" is no address');
  });
});
