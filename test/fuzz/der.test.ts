/** The DER reader on hostile input: it says no, it never crashes, and what it accepts it writes back byte for byte. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Certificate } from "#x509/certificate.ts";
import { parseCsr } from "#x509/csr.ts";
import {
  DerError,
  DerReader,
  der,
  derOid,
  derTime,
  derUnsigned,
  oidText,
  timeSeconds,
} from "#x509/der.ts";
import { make } from "#x509/pki.fixture.ts";

const sample = (await make({ name: "a", uri: "spiffe://example.org/a", isCa: false })).certificate
  .der;

test("random bytes: an error, or an element that re-encodes to itself", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const reader = new DerReader(bytes);
      try {
        while (!reader.done) {
          const { tag, content, bytes: whole } = reader.next();
          expect(Buffer.compare(der(tag, content), whole)).toBe(0);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(DerError);
      }
    }),
    { numRuns: 3000 },
  );
});

test("a mutated certificate: an error, never a crash", () => {
  fc.assert(
    fc.property(
      fc.nat(sample.length - 1),
      fc.nat(255),
      fc.nat(sample.length),
      (at, value, length) => {
        const bytes = Uint8Array.from(sample).subarray(0, Math.max(1, length));
        if (at < bytes.length) bytes[at] = value;
        try {
          Certificate.parse(bytes);
        } catch (error) {
          expect(String(error)).toContain("malformed certificate");
        }
        expect(() => parseCsr(bytes)).toThrow();
      },
    ),
    { numRuns: 3000 },
  );
});

test("numbers, object identifiers and times come back as they went in", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 20 }),
      fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 0, max: 4_000_000_000 }),
      (number, arcs, seconds) => {
        const read = new DerReader(derUnsigned(number)).next().content;
        expect(BigInt(`0x${Buffer.from(read).toString("hex")}`)).toBe(
          BigInt(`0x${Buffer.from(number).toString("hex")}`),
        );
        const oid = ["1", "2", ...arcs].join(".");
        expect(oidText(new DerReader(derOid(oid)).next().content)).toBe(oid);
        expect(timeSeconds(new DerReader(derTime(seconds)).next())).toBe(seconds);
      },
    ),
  );
});
