/**
 * The vectors of the standards: files of inputs with verdicts, each with the section it comes from and the reason. They hold
 * nothing of this project and can be run by any other implementation.
 */
import { describe, expect, test } from "bun:test";
import { formatBundleDocument, jwtKeysOf, parseBundleDocument } from "#jwt/bundle-document.ts";
import { verifyJwtSvid } from "#jwt/verify.ts";
import { parseBundleEndpointUrl } from "#spiffe/federation-relationship.ts";
import { parseSelector, selectorKey, selectorProblem } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import bundleVectors from "./bundle.json";
import endpointUrlVectors from "./bundle-endpoint-url.json";
import jwtSvidVectors from "./jwt-svid.json";
import selectorVectors from "./selector.json";
import spiffeIdVectors from "./spiffe-id.json";

interface Vector {
  readonly section: string;
  readonly input: string;
  readonly verdict: string;
  readonly why: string;
}

/** One test for each vector; its name tells what a failure means. */
function run<T extends Vector, Value>(
  vectors: readonly T[],
  accept: (vector: T) => Value | Promise<Value>,
  check: (value: Value, vector: T) => void,
): void {
  for (const [index, vector] of vectors.entries()) {
    test(`${vector.section}, ${vector.verdict}: ${vector.why} (${index})`, async () => {
      let accepted: { readonly value: Value } | undefined;
      let problem: unknown;
      try {
        accepted = { value: await accept(vector) };
      } catch (error) {
        problem = error;
      }
      expect(["valid", "invalid"]).toContain(vector.verdict);
      if (vector.verdict === "valid" && accepted === undefined) throw problem;
      if (vector.verdict === "invalid" && accepted !== undefined) throw new Error("was accepted");
      if (accepted !== undefined) check(accepted.value, vector);
    });
  }
}

describe("SPIFFE IDs", () => {
  run(
    spiffeIdVectors.vectors,
    ({ input }) => SpiffeId.parse(input),
    (id, { input }) => expect(String(id)).toBe(input),
  );
});

describe("selectors", () => {
  run(
    selectorVectors.vectors,
    ({ input }) => {
      const selector = parseSelector(input);
      const problem = selectorProblem(selector);
      if (problem !== undefined) throw new Error(problem);
      return selector;
    },
    (selector, { input, reads }) => {
      expect<unknown>(selector).toEqual(reads);
      expect(selectorKey(selector)).toBe(input);
    },
  );
});

describe("bundles", () => {
  const trustDomain = TrustDomain.parse("example.org");
  run(
    bundleVectors.vectors,
    ({ input }) => parseBundleDocument(input, trustDomain),
    (bundle, { holds }) => {
      expect<unknown>({
        x509: bundle.x509Authorities.length,
        jwt: bundle.jwtAuthorities.map(({ keyId }) => keyId),
        sequence: bundle.sequenceNumber,
        refreshHint: bundle.refreshHint,
      }).toEqual(holds);
      // What was read writes itself down as a document that reads the same.
      expect(parseBundleDocument(formatBundleDocument(bundle), trustDomain)).toEqual(bundle);
    },
  );
});

describe("URLs of bundle endpoints", () => {
  run(
    endpointUrlVectors.vectors,
    ({ input }) => parseBundleEndpointUrl(input),
    (url, { input }) => expect(url).toBe(input),
  );
});

describe("JWT-SVIDs", () => {
  const { atSeconds, audience } = jwtSvidVectors;
  const keys = new Map(
    Object.entries(jwtSvidVectors.bundles).map(([name, document]) => {
      const bundle = parseBundleDocument(JSON.stringify(document), TrustDomain.parse(name));
      return [name, jwtKeysOf(bundle)];
    }),
  );
  run(
    jwtSvidVectors.vectors,
    ({ input }) => verifyJwtSvid(input, audience, ({ name }) => keys.get(name), atSeconds),
    (svid) => expect(svid).toMatchObject({ claims: { sub: "spiffe://example.org/workload" } }),
  );
});
