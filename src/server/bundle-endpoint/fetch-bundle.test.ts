import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { formatBundleDocument } from "#jwt/bundle-document.ts";
import { type Bundle, emptyBundle } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import type { EndpointProof } from "./connect.ts";
import {
  endpoint,
  identity,
  silence,
  type TestEndpoint,
  type TestIdentity,
} from "./endpoints.fixture.ts";
import { fetchBundle } from "./fetch-bundle.ts";

const trustDomain = TrustDomain.parse("f.org");
const ENDPOINT_ID = "spiffe://f.org/endpoint";

let root: Made;
let good: TestIdentity;
let bundle: Bundle;
beforeAll(async () => {
  root = await make({ name: "root", isCa: true, uri: "spiffe://f.org" });
  good = await identity({ name: "endpoint", issuer: root, uri: ENDPOINT_ID });
  const x509Authorities = [{ certificate: root.certificate.der, tainted: false }];
  bundle = { ...emptyBundle(trustDomain), x509Authorities, refreshHint: 90, sequenceNumber: 7 };
});

let clock: ManualClock;
let open: TestEndpoint[];
beforeEach(() => {
  clock = new ManualClock();
  open = [];
});
afterEach(async () => {
  for (const one of open) await one[Symbol.asyncDispose]();
});

async function serve(by: TestIdentity, answer: RequestListener): Promise<TestEndpoint> {
  const served = await endpoint(by, answer);
  open.push(served);
  return served;
}

const serveBundle = (_: unknown, response: ServerResponse): void => {
  response.end(formatBundleDocument(bundle));
};

const proof = (roots: readonly Made[] = [root], id = ENDPOINT_ID): EndpointProof => ({
  kind: "https_spiffe",
  endpointSpiffeId: SpiffeId.parse(id),
  roots: roots.map(({ certificate }) => certificate),
});

function fetched(
  url: string,
  by: EndpointProof = proof(),
  signal: AbortSignal = new AbortController().signal,
): Promise<Bundle> {
  return fetchBundle({ trustDomain, url, proof: by, policy: tlsPolicy(false), clock, signal });
}

/** What a fetch fails with. */
async function problemOf(fetching: Promise<Bundle>): Promise<string> {
  const outcome = await fetching.then(
    () => undefined,
    (error: unknown) => errorText(error),
  );
  if (outcome === undefined) throw new Error("was accepted");
  return outcome;
}

test("a bundle comes as it was served, with what a request says about itself", async () => {
  const asked: string[] = [];
  const served = await serve(good, (request, response) => {
    asked.push(
      `${request.method} ${request.url} ${request.headers.host} ${request.headers.accept}`,
    );
    serveBundle(request, response);
  });
  expect(await fetched(`${served.url}path?x=y`)).toEqual(bundle);
  expect(asked).toEqual([`GET /path?x=y 127.0.0.1:${served.port} application/json`]);
});

describe("§5.2.2.4: nothing is asked of an endpoint that does not prove its SPIFFE ID", () => {
  /** The problem with an endpoint that shows the certificate, and that it got no request. */
  async function refused(by: TestIdentity, wanted: EndpointProof = proof()): Promise<string> {
    let requests = 0;
    const served = await serve(by, (request, response) => {
      requests++;
      serveBundle(request, response);
    });
    const problem = await problemOf(fetched(served.url, wanted));
    expect(requests).toBe(0);
    return problem;
  }

  test("another ID of the same trust domain", async () => {
    const other = await identity({ name: "other", issuer: root, uri: "spiffe://f.org/workload" });
    expect(await refused(other)).toBe(
      `unexpected ID "spiffe://f.org/workload": expected "${ENDPOINT_ID}"`,
    );
  });

  test("the ID, by an authority that is not in the bundle", async () => {
    const stranger = await make({ name: "root", isCa: true, uri: "spiffe://f.org" });
    const by = await identity({ name: "endpoint", issuer: stranger, uri: ENDPOINT_ID });
    expect(await refused(by)).toContain("certificate signed by unknown authority");
    const other = await make({ name: "elsewhere", isCa: true });
    const foreign = await identity({ name: "endpoint", issuer: other, uri: ENDPOINT_ID });
    expect(await refused(foreign)).toBe("certificate signed by unknown authority");
  });

  test("an ID of another trust domain, by an authority of the right one (§7.3)", async () => {
    const by = await identity({ name: "e", issuer: root, uri: "spiffe://g.org/endpoint" });
    expect(await refused(by)).toBe('no bundle for trust domain "g.org"');
  });

  test("a certificate without a SPIFFE ID", async () => {
    const by = await identity({ name: "web", issuer: root, dns: ["127.0.0.1"] });
    expect(await refused(by)).toBe("certificate has no URI SAN");
  });

  test("an expired certificate", async () => {
    clock.pass(7_200_000);
    expect(await refused(good)).toContain("has expired");
  });

  test("anybody, by a bundle without authorities", async () => {
    expect(await refused(good, proof([]))).toBe("certificate signed by unknown authority");
  });

  test("a certificate that the machine does not trust, where the profile is https_web", async () => {
    const web = { kind: "https_web" } as const;
    expect(await refused(good, web)).toContain(
      `the server certificate contains SPIFFE ID "${ENDPOINT_ID}": maybe use https_spiffe instead of https_web`,
    );
    const plain = await identity({ name: "web", dns: ["127.0.0.1"] });
    expect(await refused(plain, web)).not.toContain("https_spiffe");
    // The TLS stack goes by the machine's own clock.
    const always = { notBefore: 0, notAfter: 4_000_000_000 };
    const stranger = await identity({ name: "web", dns: ["localhost"], ...always });
    const named = await serve(stranger, serveBundle);
    expect(await problemOf(fetched(`https://localhost:${named.port}/`, web))).toBe(
      "certificate signed by unknown authority",
    );
  });
});

test("an endpoint below an intermediate authority is verified, by the root or by the intermediate", async () => {
  const intermediate = await make({ name: "intermediate", issuer: root, isCa: true });
  const by = await identity({ name: "e", issuer: intermediate, uri: ENDPOINT_ID }, [intermediate]);
  const served = await serve(by, serveBundle);
  expect(await fetched(served.url)).toEqual(bundle);
  expect(await fetched(served.url, proof([intermediate]))).toEqual(bundle);
});

describe("redirects", () => {
  const to =
    (location: string | (() => string), status = 302): RequestListener =>
    (_, response) => {
      const target = typeof location === "string" ? location : location();
      response.writeHead(status, { location: target });
      response.end();
    };

  test.each([301, 302, 303, 307, 308])(
    "%i is followed, on the same endpoint or another of the same ID",
    async (status) => {
      const last = await serve(good, serveBundle);
      const first = await serve(good, (request: IncomingMessage, response: ServerResponse) => {
        to(request.url === "/" ? "/next" : last.url, status)(request as never, response as never);
      });
      expect(await fetched(first.url)).toEqual(bundle);
    },
  );

  test("to an endpoint that proves something else is refused", async () => {
    const other = await identity({ name: "other", issuer: root, uri: "spiffe://f.org/workload" });
    const last = await serve(other, serveBundle);
    const first = await serve(good, to(last.url));
    expect(await problemOf(fetched(first.url))).toContain("unexpected ID");
  });

  test.each([
    ["http://127.0.0.1/", "must use the https scheme"],
    ["https://me:secret@127.0.0.1/", "must not contain user info"],
  ])("to %s is refused", async (location, problem) => {
    const first = await serve(good, to(location));
    expect(await problemOf(fetched(first.url))).toContain(problem);
  });

  test("without end are given up", async () => {
    let times = 0;
    const first = await serve(good, (request, response) => {
      times++;
      to("/again")(request, response);
    });
    expect(await problemOf(fetched(first.url))).toBe("stopped after 10 redirects");
    expect(times).toBe(11);
  });
});

describe("an answer that is no bundle", () => {
  const answers: readonly (readonly [string, RequestListener, string])[] = [
    [
      "another status",
      (_, response) => {
        response.writeHead(503);
        response.end(`not\u001b[31m today\n${"x".repeat(5000)}`);
      },
      "unexpected status 503 fetching bundle: not [31m today xxx",
    ],
    [
      "a redirect to nowhere",
      (_, response) => {
        response.writeHead(302);
        response.end();
      },
      "unexpected status 302",
    ],
    ["no JSON", (_, response) => response.end("<html>"), "bundle document is not JSON"],
    ["no keys", (_, response) => response.end("{}"), "has no array of keys"],
    [
      "not UTF-8",
      (_, response) => response.end(Buffer.from([0x22, 0xff, 0x22])),
      "not valid for encoding utf-8",
    ],
    [
      "too long",
      (_, response) => response.end(JSON.stringify({ keys: [], more: "x".repeat(1024 * 1024) })),
      "longer than 1048576 bytes",
    ],
    [
      "without end",
      (_, response) => {
        const more = (): void => {
          while (response.write("x".repeat(65_536)));
          response.once("drain", more);
        };
        more();
      },
      "longer than 1048576 bytes",
    ],
    [
      "cut short",
      (request, response) => {
        response.writeHead(200, { "content-length": 1000 });
        response.write("{");
        setImmediate(() => request.socket.destroy());
      },
      "the answer was cut short",
    ],
    [
      "with headers without end",
      (_, response) => {
        response.writeHead(200, { "x-long": "x".repeat(20_000) });
        response.end(formatBundleDocument(bundle));
      },
      "Header overflow",
    ],
  ];
  test.each(answers)("%s", async (_name, answer, problem) => {
    const served = await serve(good, answer);
    const shown = await problemOf(fetched(served.url));
    expect(shown).toContain(problem);
    expect(shown.length).toBeLessThan(300);
  });
});

describe("an endpoint that keeps one waiting is given up after 30 s", () => {
  const late = "the endpoint did not answer within 30 s";

  test("without a handshake", async () => {
    const served = await silence();
    open.push(served);
    const problem = problemOf(fetched(served.url));
    await clock.untilNext();
    clock.pass(30_000);
    expect(await problem).toBe(late);
  });

  test.each(["before the answer", "within the answer"])("%s", async (when) => {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const served = await serve(good, (_, response) => {
      if (when === "within the answer") response.write("{");
      resolve();
    });
    const problem = problemOf(fetched(served.url));
    await asked;
    clock.pass(29_999);
    clock.pass(1);
    expect(await problem).toBe(late);
  });

  test("or when it is no longer wanted", async () => {
    const served = await silence();
    open.push(served);
    const ending = new AbortController();
    const problem = problemOf(fetched(served.url, proof(), ending.signal));
    ending.abort(new Error("no longer"));
    expect(await problem).toBe("no longer");
    expect(await problemOf(fetched(served.url, proof(), ending.signal))).toBe("no longer");
  });
});

test("an endpoint that is not there is told apart", async () => {
  const gone = await silence();
  await gone[Symbol.asyncDispose]();
  expect(await problemOf(fetched(gone.url))).toContain("ECONNREFUSED");
});
