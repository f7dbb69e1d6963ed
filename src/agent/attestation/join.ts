/** Joins a node to its server: finds the first trust bundle, attests, and stores what came of it before anything uses it. */
import type { AgentConfig } from "#agent/config/config.ts";
import type { OpenNodeAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import { isUnknownAuthority } from "#grpc/verifying-credentials.ts";
import type { ManagedKey } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";
import { type AgentSvid, attestNode } from "./agent-svid.ts";
import type { Bootstrap } from "./bootstrap.ts";
import { explainRefusal } from "./refusal.ts";
import { unvouchedServer } from "./server-bundle.ts";
import { explainClocks } from "./server-clock.ts";
import { connectServer } from "./server-connection.ts";
import type { StoredState } from "./stored-state.ts";

const NEW_SVID = ["node", "attestor", "new_svid"];

export interface JoinParts {
  readonly config: AgentConfig;
  readonly state: StoredState;
  readonly bootstrap: Bootstrap;
  readonly openAttestor: OpenNodeAttestor;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

export interface Joined {
  readonly svid: AgentSvid;
  /** The X.509 authorities that the server was verified with, DER. */
  readonly roots: readonly Uint8Array[];
}

/** One attempt. @param key the same for every try, see `attestationKey` @throws Error or StatusError */
export async function joinServer(parts: JoinParts, key: ManagedKey): Promise<Joined> {
  const { config, state, bootstrap, openAttestor, clock, log } = parts;
  // Made for each attempt, since the operator may have laid out a new token or certificate meanwhile.
  const attestor = await openAttestor();
  const roots = await bootstrap.bundle();
  const clients = connectServer(config, roots, undefined, clock);
  try {
    const attest = (): Promise<AgentSvid> => attestNode(clients, attestor, key, config.trustDomain);
    const labels = { attestor: attestor.type };
    const svid = await countedCall(parts, NEW_SVID, attest, labels);
    await state.update({ svid: svid.chain, bundle: roots, reattestable: svid.reattestable });
    await bootstrap.agreed();
    log.info("Node attestation was successful", {
      spiffe_id: svid.id.toString(),
      reattestable: svid.reattestable,
    });
    return { svid, roots };
  } catch (error) {
    if (!isUnknownAuthority(error)) {
      throw explainRefusal(await explainClocks(error, config, clock), attestor.type);
    }
    await bootstrap.disagreed();
    throw config.authorityFingerprints === undefined ? error : unvouchedServer(config, error);
  } finally {
    clients.close();
  }
}
