/** The Debug service of the agent's admin socket: facts about the running agent. */
import type { Clock } from "#clock/clock.ts";
import { type BindOptions, type BoundService, bindService } from "#grpc/bind.ts";
import { certificateMessage } from "#grpc/certificate-message.ts";
import { DebugService, type GetInfoResponse } from "#proto/spire/api/agent/debug/v1/debug.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyX509Svid } from "#x509/svid.ts";

/** What the agent knows of itself, at this moment. */
export interface AgentFacts {
  /** The agent's own SVID, DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** The X.509 authorities of its trust domain, DER. */
  readonly roots: readonly Uint8Array[];
  /** Unix seconds; 0 for never. */
  readonly lastSyncSuccess: number;
  readonly cachedX509Svids: number;
  readonly cachedJwtSvids: number;
}

export interface DebugServiceParts {
  readonly facts: () => AgentFacts;
  readonly clock: Clock;
}

export function createDebugService(parts: DebugServiceParts, options: BindOptions): BoundService {
  const startedMs = parts.clock.monotonicMs();
  return bindService(
    DebugService,
    {
      getInfo: async (): Promise<GetInfoResponse> => {
        const facts = parts.facts();
        return {
          svidChain: verifiedChain(facts, parts.clock).map(certificateMessage),
          uptime: Math.floor((parts.clock.monotonicMs() - startedMs) / 1000),
          svidsCount: facts.cachedX509Svids,
          cachedX509SvidsCount: facts.cachedX509Svids,
          cachedJwtSvidsCount: facts.cachedJwtSvids,
          // There are no SVIDStore plugins here.
          cachedSvidstoreX509SvidsCount: 0,
          lastSyncSuccess: facts.lastSyncSuccess,
        };
      },
    },
    options,
  );
}

/** From the agent's certificate to the root it is verified with. */
function verifiedChain({ chain, roots }: AgentFacts, clock: Clock): readonly Certificate[] {
  try {
    const authorities = roots.map((der) => Certificate.parse(der));
    return verifyX509Svid(chain, () => authorities, clock.nowSeconds()).chain;
  } catch (error) {
    throw new StatusError(StatusCode.INTERNAL, `failed to verify agent SVID: ${errorText(error)}`);
  }
}
