import type { Clock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import type { CaManager, X509Svid } from "#server/ca/ca-manager.ts";
import { generatePrivateKey, privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import type { KeyType } from "#x509/signer.ts";
import { type PeriodicTask, periodically } from "./periodic.ts";

/** How often the age of the SVID is looked at. */
const CHECK_INTERVAL_MS = 5000;

/** What the TLS listener shows. */
export interface ServerIdentity {
  readonly privateKeyPem: string;
  readonly certificateChainPem: string;
}

export interface ServerSvidParts {
  readonly ca: Pick<CaManager, "serverSvid">;
  readonly keyType: KeyType;
  readonly clock: Clock;
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
    return new ServerSvid(parts, await issueSvid(parts));
  }

  get identity(): ServerIdentity {
    return this.#identity;
  }

  /** The chain of the SVID, leaf first; DER. */
  get chain(): readonly Uint8Array[] {
    return this.#svid.chain;
  }

  /**
   * Replaces the SVID when half of its life is over.
   *
   * @param onRotated called with each new identity
   */
  rotate(onRotated: (identity: ServerIdentity) => void): PeriodicTask {
    const check = async (): Promise<void> => {
      if (!this.#isDue()) return;
      const issued = await issueSvid(this.#parts);
      onRotated(issued.identity);
      this.#identity = issued.identity;
      this.#svid = issued.svid;
    };
    return periodically("rotate server SVID", CHECK_INTERVAL_MS, check, this.#parts);
  }

  #isDue(): boolean {
    const { notBefore, expiresAt } = this.#svid;
    return this.#parts.clock.nowSeconds() > notBefore + (expiresAt - notBefore) / 2;
  }
}

interface Issued {
  readonly identity: ServerIdentity;
  readonly svid: X509Svid;
}

async function issueSvid({ ca, keyType, log }: ServerSvidParts): Promise<Issued> {
  const key = await generatePrivateKey(keyType);
  const svid = await ca.serverSvid(signerFromPrivateKey(key).publicKeySpki);
  log.debug("Signed X509 SVID", { spiffe_id: svid.id.toString(), expiration: svid.expiresAt });
  return {
    svid,
    identity: {
      privateKeyPem: privateKeyToPkcs8Pem(key),
      certificateChainPem: certificatesToPem([...svid.chain]),
    },
  };
}
