import { expect, test } from "bun:test";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { signatoryOf, TaintedAuthorities } from "./taint.ts";

const root = await make({ name: "root", isCa: true });
const other = await make({ name: "root", isCa: true });
const intermediate = await make({ name: "intermediate", issuer: root, isCa: true });
const leaf = (issuer: Made): Promise<Made> =>
  make({ name: "leaf", issuer, uri: "spiffe://example.org/a" });
const chain = (...made: Made[]): Uint8Array[] => made.map(({ certificate }) => certificate.der);

const bundle = (...authorities: [Made, boolean][]) => ({
  ...emptyBundle(TrustDomain.parse("example.org")),
  x509Authorities: authorities.map(([{ certificate }, tainted]) => ({
    certificate: certificate.der,
    tainted,
  })),
});

test("an SVID is tainted by the authority that its chain leads to, also through intermediates", async () => {
  const tainted = new TaintedAuthorities();
  tainted.update(bundle([root, true], [other, false]));
  expect(tainted.signed(signatoryOf(chain(await leaf(root))))).toBe(true);
  expect(tainted.signed(signatoryOf(chain(await leaf(intermediate), intermediate)))).toBe(true);
  // Of the same name, but with another key.
  expect(tainted.signed(signatoryOf(chain(await leaf(other))))).toBe(false);
});

test("without key IDs the name alone counts", async () => {
  const tainted = new TaintedAuthorities();
  const bare = await make({ name: "root", isCa: true, keyId: new Uint8Array() });
  tainted.update(bundle([bare, true]));
  expect(tainted.signed(signatoryOf(chain(await leaf(root))))).toBe(true);
  expect(tainted.signed(signatoryOf(chain(await leaf(intermediate), intermediate)))).toBe(true);
  expect(tainted.signed(signatoryOf(chain(await leaf(intermediate))))).toBe(false);
});

test("an authority is news once", async () => {
  const tainted = new TaintedAuthorities();
  const ofRoot = signatoryOf(chain(await leaf(root)));
  const ofOther = signatoryOf(chain(await leaf(other)));
  expect(tainted.update(bundle([root, false], [other, false]))).toBeUndefined();
  expect(tainted.update(bundle([root, true], [other, false]))?.signed(ofRoot)).toBe(true);
  expect(tainted.update(bundle([root, true], [other, false]))).toBeUndefined();
  const news = tainted.update(bundle([root, true], [other, true]));
  expect([news?.signed(ofRoot), news?.signed(ofOther)]).toEqual([false, true]);
});
