/** The Debug service: facts about the running server for its local operator. */
import type { Clock } from "#clock/clock.ts";
import { type BoundService, bindService } from "#grpc/bind.ts";
import { certificateMessage } from "#grpc/certificate-message.ts";
import {
  DebugService,
  type GetInfoResponse,
  type GetInfoResponse_Cert,
} from "#proto/spire/api/server/debug/v1/debug.ts";
import { attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyX509Svid } from "#x509/svid.ts";

/** Counting costs; whoever asks more often gets the last answer. */
const CACHE_MS = 5_000;

export interface DebugServiceParts {
  readonly trustDomain: TrustDomain;
  readonly store: DataStore;
  /** The chain the server shows to agents, DER, leaf first. */
  readonly serverChain: () => readonly Uint8Array[];
  readonly clock: Clock;
}

export function createDebugService(
  parts: DebugServiceParts,
  options: ServiceOptions,
): BoundService {
  const { clock } = parts;
  const startedMs = clock.monotonicMs();
  let last: { readonly atMs: number; readonly answer: Promise<GetInfoResponse> } | undefined;
  return bindService(
    DebugService,
    audited({
      getInfo: (): Promise<GetInfoResponse> => {
        const nowMs = clock.monotonicMs();
        if (last === undefined || nowMs - last.atMs >= CACHE_MS) {
          const uptime = Math.floor((nowMs - startedMs) / 1000);
          last = { atMs: nowMs, answer: info(parts, uptime) };
          last.answer.catch(() => {
            last = undefined;
          });
        }
        return last.answer;
      },
    }),
    options,
  );
}

async function info(parts: DebugServiceParts, uptime: number): Promise<GetInfoResponse> {
  const { store } = parts;
  const counted = (what: string, count: () => Promise<number>): Promise<number> =>
    attempt(`failed to count ${what}`, count, StatusCode.INTERNAL);
  const [agentsCount, entriesCount, federatedBundlesCount, svidChain] = await Promise.all([
    counted("agents", () => store.nodes.count({})),
    counted("entries", () => store.entries.count({})),
    counted("bundles", () => store.bundles.count()),
    certificateChain(parts),
  ]);
  return { agentsCount, entriesCount, federatedBundlesCount, svidChain, uptime };
}

/** From the server's own certificate to the root it is verified with. */
async function certificateChain(parts: DebugServiceParts): Promise<GetInfoResponse_Cert[]> {
  const { store, trustDomain, serverChain, clock } = parts;
  const bundle = await attempt(
    "failed to fetch trust domain bundle",
    () => store.bundles.find(trustDomain.name),
    StatusCode.INTERNAL,
  );
  if (bundle === undefined) {
    throw new StatusError(StatusCode.NOT_FOUND, "trust domain bundle not found");
  }
  const roots = bundle.x509Authorities.map(({ certificate }) => Certificate.parse(certificate));
  const verified = await attempt(
    "failed verification against bundle",
    async () => verifyX509Svid(serverChain(), () => roots, clock.nowSeconds()),
    StatusCode.INTERNAL,
  );
  return verified.chain.map(certificateMessage);
}
