import type { Identity } from "#agent/cache/subscription.ts";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { Connection } from "#agent/own-svid/server-link.ts";
import { TaintedAuthorities } from "#agent/own-svid/taint.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import type { Random } from "#clock/random.ts";
import {
  type BatchNewX509SVIDRequest,
  BatchNewX509SVIDResponse,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { parseCsr } from "#x509/csr.ts";
import { type Made, make, NOW } from "#x509/pki.fixture.ts";
import { quiet, serve } from "./server.fixture.ts";
import { SvidIssuer, type SvidIssuerParts } from "./svid-issuer.ts";

export const trustDomain: TrustDomain = TrustDomain.parse("example.org");
const random: Random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };
export const authority: Made = await make({ name: "authority", isCa: true });

export const never: AbortSignal = new AbortController().signal;
export const selectors = (id: string): Set<string> => new Set([`unix:user:${id}`]);

/** Signs all requests of a call, but for the entries that it is to refuse. */
export async function sign(
  { params }: BatchNewX509SVIDRequest,
  refuses: (id: string) => boolean = () => false,
  more: { readonly notBefore?: number; readonly notAfter?: number; readonly uri?: string } = {},
  code: StatusCode = StatusCode.NOT_FOUND,
): Promise<BatchNewX509SVIDResponse> {
  const results = await Promise.all(
    params.map(async ({ entryId, csr }) => {
      if (refuses(entryId)) return { status: { code, message: "no entry" } };
      const { publicKeySpki, uriSans } = parseCsr(csr);
      const uri = String(uriSans[0]);
      const wish = { name: "w", issuer: authority, uri, publicKeySpki, ...more };
      const { certificate } = await make(wish);
      return { svid: { certChain: [certificate.der] } };
    }),
  );
  return BatchNewX509SVIDResponse.fromPartial({ results });
}

/** The pause after a failure: shorter than the sleep of whoever has nothing to do. */
export async function pauseOf(clock: ManualClock): Promise<number> {
  for (;;) {
    const next = await clock.untilNext();
    if (next < 5_000) return next;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export type Answer = (request: BatchNewX509SVIDRequest) => Promise<BatchNewX509SVIDResponse>;

export interface IssuerStand extends AsyncDisposable {
  /** The IDs of the entries that the server was asked for, call by call. */
  readonly calls: string[][];
  readonly clock: ManualClock;
  readonly cache: WorkloadCache;
  readonly issuer: SvidIssuer;
  readonly tainted: TaintedAuthorities;
  readonly running: Promise<void>;
  /** What the first entry of the user with that name has. */
  readonly svidOf: (id: string) => Identity["svid"];
}

/** An issuer at work; ends with the test. */
export async function stand(
  answer: Answer,
  entries: WorkloadEntry[],
  more: Partial<SvidIssuerParts> = {},
): Promise<IssuerStand> {
  const calls: string[][] = [];
  const server = await serve({
    svid: {
      batchNewX509Svid: (request) => {
        calls.push(request.params.map(({ entryId }) => entryId));
        return answer(request);
      },
    },
  });
  const clock = new ManualClock(NOW);
  const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 1000, clock });
  cache.changeEntries(entries, []);
  const connection: Connection = {
    clients: server.clients,
    replaced: new AbortController().signal,
  };
  const tainted = new TaintedAuthorities();
  const issuer = new SvidIssuer({
    cache,
    connection: () => connection,
    onFailure: async () => false,
    keyType: "ec-p256",
    rotation: { random },
    tainted,
    clock,
    random,
    metrics: noMetrics,
    log: quiet,
    ...more,
  });
  const stop = new AbortController();
  const running = issuer.run(stop.signal);
  const svidOf = (id: string): Identity["svid"] => cache.identitiesFor(selectors(id))[0]?.svid;
  return {
    calls,
    clock,
    cache,
    issuer,
    tainted,
    running,
    svidOf,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await server[Symbol.asyncDispose]();
      await running.catch(() => {});
    },
  };
}
