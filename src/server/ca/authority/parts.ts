import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import type { CaProfile, WitSvidProfile } from "#server/ca/profile/profile.ts";
import type { Bundles, CaJournals } from "#server/datastore/datastore.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import type { OfflineAuthority, UpstreamAuthority } from "#upstream/upstream-authority.ts";
import type { KeyType } from "#x509/signer.ts";

/** All that the CA Manager is made of. */
export interface CaManagerParts {
  readonly trustDomain: TrustDomain;
  /** As the configuration has it at this moment. */
  readonly profile: () => CaProfile;
  readonly caKeyType: KeyType;
  readonly jwtKeyType: KeyType;
  /** No key for JWT-SVIDs is made then. */
  readonly jwtSvidsDisabled: boolean;
  /** Undefined: WIT-SVIDs are switched off, and no key for them is made. */
  readonly witSvids?: WitSvidProfile | undefined;
  readonly keyManager: KeyManager;
  /** What signs the CA, at most one of both; without either it signs itself. */
  readonly upstream?: UpstreamAuthority | undefined;
  readonly offline?: OfflineAuthority | undefined;
  readonly bundles: Bundles;
  readonly journals: CaJournals;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}
