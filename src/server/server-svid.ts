import type { Clock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import type { CaManager, X509Svid } from "#server/ca/ca-manager.ts";
import { Turns } from "#server/ca/rotation/turns.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";
import { isoTime } from "#x509/iso-time.ts";
import { generatePrivateKey, privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import { leadsTo } from "#x509/leads-to.ts";
import { certificatesToPem } from "#x509/pem.ts";
import type { KeyType } from "#x509/signer.ts";
import { type PeriodicTask, periodically } from "./periodic.ts";

/** How often the age of the SVID is looked at; more often when it lives for seconds only. */
const CHECK_INTERVAL_MS = 5000;
const SHORTEST_WAIT_MS = 1000;

/** What the TLS listener shows. */
export interface ServerIdentity {
  readonly privateKeyPem: string;
  readonly certificateChainPem: string;
}

export interface ServerSvidParts {
  readonly ca: Pick<CaManager, "serverSvid"> & Partial<Pick<CaManager, "waitingFor">>;
  readonly store: Pick<DataStore, "bundles" | "onChange">;
  readonly trustDomain: TrustDomain;
  readonly keyType: KeyType;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** The server's own SVID. Its key is made anew with each one and never stored. */
export class ServerSvid {
  readonly #parts: ServerSvidParts;
  #identity: ServerIdentity;
  #svid: X509Svid;

  private constructor(parts: ServerSvidParts, issued: Issued) {
    this.#parts = parts;
    this.#identity = issued.identity;
    this.#svid = issued.svid;
  }

  /** Issues the first SVID. @throws StatusError when the CA cannot */
  static async issue(parts: ServerSvidParts): Promise<ServerSvid> {
    const issued = await countedCall(parts, ["svid", "rotate"], () => issueSvid(parts));
    return new ServerSvid(parts, issued);
  }

  get identity(): ServerIdentity {
    return this.#identity;
  }

  /** The chain of the SVID, leaf first; DER. */
  get chain(): readonly Uint8Array[] {
    return this.#svid.chain;
  }

  /**
   * Replaces the SVID when half of its life is over, when the clock was set back to before it begins, and at once when an authority above
   * it was tainted.
   *
   * @param onRotated called with each new identity
   */
  rotate(onRotated: (identity: ServerIdentity) => void): PeriodicTask {
    const { ca, store, trustDomain, log } = this.#parts;
    const turns = new Turns();
    const check = (): Promise<void> =>
      turns.take(async () => {
        // Without a CA, which may take days to be signed, there is nothing to try; the CA Manager says so often enough.
        if (ca.waitingFor?.() !== undefined) return;
        if (!this.#isDue()) {
          if (!(await this.#isTainted())) return;
          log.info(
            "Server SVID signed using a tainted authority, forcing rotation of the Server SVID",
          );
        }
        const issued = await countedCall(this.#parts, ["svid", "rotate"], () =>
          issueSvid(this.#parts),
        );
        onRotated(issued.identity);
        this.#identity = issued.identity;
        this.#svid = issued.svid;
      });
    const unsubscribe = store.onChange(({ bundles }) => {
      if (!bundles.includes(trustDomain.name)) return;
      check().catch((error: unknown) => log.error("Could not rotate server SVID", { error }));
    });
    const waitMs = (): number => this.#waitMs();
    const task = periodically("rotate server SVID", waitMs, check, this.#parts);
    return {
      stop: async () => {
        unsubscribe();
        await task.stop();
        await turns.take(async () => undefined);
      },
    };
  }

  #isDue(): boolean {
    const now = this.#parts.clock.nowSeconds();
    return now > this.#halfAt() || now < this.#svid.notBefore;
  }

  /** Unix seconds, perhaps with a fraction. */
  #halfAt(): number {
    const { notBefore, expiresAt } = this.#svid;
    return notBefore + (expiresAt - notBefore) / 2;
  }

  #waitMs(): number {
    const untilHalf = this.#halfAt() * 1000 - this.#parts.clock.nowMs();
    return Math.min(Math.max(untilHalf, SHORTEST_WAIT_MS), CHECK_INTERVAL_MS);
  }

  /** Whether it leads to an authority that is tainted in the bundle; every client is about to drop what such a one signed. */
  async #isTainted(): Promise<boolean> {
    const { store, trustDomain, clock } = this.#parts;
    const bundle = await store.bundles.find(trustDomain.name);
    const tainted = (bundle?.x509Authorities ?? []).filter((authority) => authority.tainted);
    const roots = tainted.map(({ certificate }) => certificate);
    return leadsTo(this.chain, roots, clock.nowSeconds());
  }
}

interface Issued {
  readonly identity: ServerIdentity;
  readonly svid: X509Svid;
}

async function issueSvid({ ca, keyType, log }: ServerSvidParts): Promise<Issued> {
  const key = await generatePrivateKey(keyType);
  const svid = await ca.serverSvid(signerFromPrivateKey(key).publicKeySpki);
  log.debug("Signed X509 SVID", {
    spiffe_id: svid.id.toString(),
    expiration: isoTime(svid.expiresAt),
  });
  return {
    svid,
    identity: {
      privateKeyPem: privateKeyToPkcs8Pem(key),
      certificateChainPem: certificatesToPem([...svid.chain]),
    },
  };
}
