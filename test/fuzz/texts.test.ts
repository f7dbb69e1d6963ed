/** Texts from outside: SPIFFE IDs, selectors, join words, addresses, and any characters at all. Damaged ones are refused, and soon. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { parseDuration } from "#config/duration.ts";
import { parseHcl } from "#config/hcl.ts";
import { parseYaml } from "#config/yaml.ts";
import { readBundleDocument } from "#jwt/bundle-document.ts";
import { parseJwtSvidUnverified } from "#jwt/claims.ts";
import { parseBundleEndpointUrl } from "#spiffe/federation-relationship.ts";
import { formatHostPort, parseHostPort } from "#spiffe/host-port.ts";
import { JoinWord, JoinWordError } from "#spiffe/join-word.ts";
import { parseSelector, selectorKey, selectorProblem } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { SpiffeIdError } from "#spiffe/spiffe-id-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { attempt, damagedBytes, damagedText, FUZZ_TIMEOUT_MS, fuzz } from "../support/fuzzing.ts";

const trustDomain = TrustDomain.parse("example.org");

const IDS = [
  "spiffe://example.org/a/b.c_d-e",
  "spiffe://example.org",
  "SPIFFE://Example.org/a",
  `spiffe://${"a".repeat(255)}/x`,
];
const ID_WORDS = ["/", "//", ":", "%2f", "..", ".", "@", "?", "#", "\u0000", "É", "spiffe://"];
/** SPIFFE-ID §2: what may be in one at all. */
const ID_FORM = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[a-zA-Z0-9._-]+)*$/;

test(
  "SPIFFE IDs",
  () =>
    fuzz("SPIFFE IDs", damagedText(IDS, ID_WORDS), (text) => {
      try {
        const id = SpiffeId.parse(text);
        expect(id.toString()).toMatch(ID_FORM);
        expect(SpiffeId.parse(id.toString()).equals(id)).toBe(true);
        expect(text).toBe(id.toString());
      } catch (error) {
        expect(error).toBeInstanceOf(SpiffeIdError);
      }
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "trust domains",
  () =>
    fuzz("trust domains", damagedText(["example.org", ...IDS], ID_WORDS), (text) => {
      try {
        const parsed = TrustDomain.parse(text);
        expect(parsed.id).toMatch(ID_FORM);
        expect(TrustDomain.parse(parsed.name).equals(parsed)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(SpiffeIdError);
      }
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "selectors",
  () =>
    fuzz(
      "selectors",
      damagedText(["unix:uid:1000", "k8s:pod-label:a:b", ":"], [":", "", "\n"]),
      async (text) => {
        const selector = await attempt(() => parseSelector(text));
        if (selector === undefined) return;
        expect(selectorKey(selector)).toBe(text);
        if (selectorProblem(selector) === undefined)
          expect(parseSelector(selectorKey(selector))).toEqual(selector);
      },
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "URLs of bundle endpoints",
  () =>
    fuzz(
      "bundle endpoint URLs",
      damagedText(
        ["https://example.org:8443/bundle.json?x=1", "https://[::1]/"],
        ["@", ":", "\\", "//", "#", "%00", "[", "ſ", "https:"],
      ),
      async (text) => {
        const url = await attempt(() => parseBundleEndpointUrl(text));
        if (url !== undefined) expect(new URL(url).protocol).toBe("https:");
      },
    ),
  FUZZ_TIMEOUT_MS,
);

const JOIN_WORDS = [
  { token: "4e1243bd-22c6-46bc-8fb0-f64fca5a1d2c", host: "server.example.org", authorities: 2 },
  { token: "a-token_of.its-own", host: "2001:db8::1", authorities: 16 },
].map(({ token, host, authorities }) =>
  JoinWord.of({
    trustDomain,
    address: { host, port: 8081 },
    token,
    fingerprints: Array.from({ length: authorities }, (_, i) => String(i).padStart(64, "5")),
  }).reveal(),
);
const JOIN_WORD_WORDS = ["spirejoin1_", "spirejoin2_", "0", "z", " ", "\n", "-", "É", "\u0000"];

test(
  "join words: none is accepted that is not written the same again, and no refusal tells what was in it",
  () =>
    fuzz("join words", damagedText(JOIN_WORDS, JOIN_WORD_WORDS), (text) => {
      try {
        expect(JoinWord.parse(text).reveal()).toBe(text.trim());
      } catch (error) {
        expect(error).toBeInstanceOf(JoinWordError);
        const digits = text.trim().slice("spirejoin1_".length, 40);
        if (digits !== "") expect((error as Error).message).not.toContain(digits);
      }
    }),
  FUZZ_TIMEOUT_MS,
);

const BASE62 = [..."0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"];

/** The number that the digits of a join word are, as bytes, without its check digits. */
function bodyOf(word: string): Uint8Array {
  const digits = [...word.slice("spirejoin1_".length)];
  const value = digits.reduce((sum, digit) => sum * 62n + BigInt(BASE62.indexOf(digit)), 0n);
  return Buffer.from(
    value.toString(16).padStart(2 * Math.ceil(value.toString(16).length / 2), "0"),
    "hex",
  ).subarray(0, -4);
}

function wordOf(body: Uint8Array): string {
  const check = Bun.hash.crc32(body).toString(16).padStart(8, "0");
  const digits: string[] = [];
  for (
    let rest = BigInt(`0x${Buffer.from(body).toString("hex")}${check}`);
    rest > 0n;
    rest /= 62n
  ) {
    digits.unshift(BASE62[Number(rest % 62n)] ?? "");
  }
  return `spirejoin1_${digits.join("")}`;
}

test(
  "join words whose check digits are right, though nothing else may be",
  () => {
    const bodies = JOIN_WORDS.map(bodyOf);
    expect(bodies.map(wordOf)).toEqual(JOIN_WORDS);
    return fuzz("bodies of join words", damagedBytes(bodies), (body) => {
      const word = wordOf(body);
      try {
        expect(JoinWord.parse(word).reveal()).toBe(word);
      } catch (error) {
        expect(error).toBeInstanceOf(JoinWordError);
      }
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "join words: what is put in comes out",
  () => {
    const characters = (from: string): fc.Arbitrary<string> => fc.constantFrom(...from);
    const token = fc.oneof(
      fc.uuid(),
      fc.string({ unit: characters("aZ09-_"), minLength: 1, maxLength: 255 }),
    );
    const fields = fc.record({
      trustDomain: fc
        .string({ unit: characters("az09._-"), minLength: 1, maxLength: 255 })
        .map((name) => TrustDomain.parse(name)),
      address: fc.record({
        host: fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
        port: fc.integer({ min: 1, max: 65_535 }),
      }),
      token,
      fingerprints: fc.uniqueArray(
        fc.string({ unit: characters("0123456789abcdef"), minLength: 64, maxLength: 64 }),
        { minLength: 1, maxLength: 16 },
      ),
    });
    return fuzz("fields of join words", fields, (given) => {
      const read = JoinWord.parse(JoinWord.of(given).reveal());
      expect({ ...read, token: read.token }).toEqual({
        ...given,
        fingerprints: given.fingerprints.toSorted(),
      });
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "addresses of servers",
  () =>
    fuzz(
      "addresses",
      damagedText(
        ["server.example.org:8081", "[2001:db8::1]:443", "::1", "192.0.2.1"],
        [":", "[", "]", "%", "0", "-", "é", "65536"],
      ),
      async (text) => {
        const read = await attempt(() => parseHostPort(text));
        if (read === undefined) return;
        const { host, port = 8081 } = read;
        expect(parseHostPort(formatHostPort({ host, port }))).toEqual({ host, port });
      },
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "whatever characters, in whatever reader",
  () =>
    fuzz("any characters", fc.string({ unit: "binary", maxLength: 60 }), async (text) => {
      const readers = [
        () => parseHcl(text, "f"),
        () => parseYaml(text, "f"),
        () => SpiffeId.parse(text),
        () => JoinWord.parse(text),
        () => parseHostPort(text),
        () => TrustDomain.parse(text),
        () => parseSelector(text),
        () => parseDuration(text),
        () => parseJwtSvidUnverified(text),
        () => readBundleDocument(text, trustDomain),
        () => certificatesFromPem(text),
      ];
      for (const read of readers) await attempt<unknown>(read);
    }),
  FUZZ_TIMEOUT_MS,
);
