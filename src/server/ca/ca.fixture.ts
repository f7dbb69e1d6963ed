/** A CA Manager on a store of its own and a clock that stands still; only tests use it. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { systemRandom } from "#clock/random.ts";
import { DiskKeyManager } from "#keymanager/disk/disk.ts";
import { createLog } from "#log/log.ts";
import type { WitSvidProfile } from "#server/ca/profile/profile.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import type { OfflineAuthority, UpstreamAuthority } from "#upstream/upstream-authority.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { CaManager, type TokenSvid, type X509Svid } from "./ca-manager.ts";

export class CaStage {
  readonly clock: ManualClock;
  readonly directory: string = mkdtempSync(join(tmpdir(), "spire-ca-"));
  readonly trustDomain: TrustDomain = TrustDomain.parse("example.org");
  readonly logged: string[] = [];
  readonly #log = createLog({ level: "info", format: "text" }, () => 0, {
    write: (line) => void this.logged.push(line),
  });
  readonly #opened: CaManager[] = [];
  #store: DataStore | undefined;

  /** @param startSeconds Unix seconds; needed only where certificates come from elsewhere */
  constructor(startSeconds?: number) {
    this.clock = new ManualClock(startSeconds);
  }

  async store(): Promise<DataStore> {
    const path = join(this.directory, "store.sqlite3");
    this.#store ??= await openSqliteDataStore({ path, log: this.#log });
    return this.#store;
  }

  /** Opens a CA Manager on what the last one left behind. */
  async open({
    caTtlSeconds = 3600,
    ...given
  }: {
    readonly caTtlSeconds?: number;
    readonly upstream?: UpstreamAuthority;
    readonly offline?: OfflineAuthority;
    readonly jwtSvidsDisabled?: boolean;
    readonly witSvids?: WitSvidProfile;
  } = {}): Promise<CaManager> {
    const store = await this.store();
    const manager = await CaManager.open({
      trustDomain: this.trustDomain,
      profile: () => ({
        caSubject: { country: ["US"], organization: ["SPIFFE"], commonName: "" },
        caTtlSeconds,
        defaultX509SvidTtlSeconds: 3600,
        defaultJwtSvidTtlSeconds: 300,
        agentTtlSeconds: 3600,
        jwtIssuer: "",
      }),
      caKeyType: "ec-p256",
      jwtKeyType: "ec-p256",
      jwtSvidsDisabled: false,
      keyManager: await DiskKeyManager.open(join(this.directory, "keys.json")),
      bundles: store.bundles,
      journals: store.caJournals,
      clock: this.clock,
      random: systemRandom,
      metrics: noMetrics,
      log: this.#log,
      ...given,
    });
    this.#opened.push(manager);
    return manager;
  }

  async bundle(): Promise<Bundle> {
    const bundle = await (await this.store()).bundles.find(this.trustDomain.name);
    if (bundle === undefined) throw new Error("there is no bundle");
    return bundle;
  }

  async close(): Promise<void> {
    for (const manager of this.#opened) await manager.stop();
    await this.#store?.close();
    rmSync(this.directory, { recursive: true });
  }
}

export const WORKLOAD: SpiffeId = SpiffeId.parse("spiffe://example.org/workload");

/** An SVID for a key made for it. */
export async function issueSvid(manager: CaManager): Promise<X509Svid> {
  const { publicKeySpki } = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  return manager.x509Svid({ id: WORKLOAD, publicKeySpki });
}

/** WIT-SVIDs as a server has them that switches them on and says no more. */
export const WIT_SVIDS: WitSvidProfile = { keyType: "ec-p256", issuer: "" };

/** A WIT-SVID for a key made for it. */
export async function issueWit(manager: CaManager, ttlSeconds: number = 0): Promise<TokenSvid> {
  const { publicKey } = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  return manager.witSvid({ id: WORKLOAD, publicKey, algorithm: "ES256", ttlSeconds });
}
