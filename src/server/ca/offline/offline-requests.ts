/**
 * The CA's request to an authority that signs by hand: made, kept until it is answered, and answered. What waits is in the journal, its key
 * in the KeyManager, so neither a restart nor a crash loses a request that somebody may be carrying. Called by the authorities, in turn with
 * everything else that writes the journal.
 */
import type { ManagedKey } from "#keymanager/key-manager.ts";
import {
  authorityFields,
  likelyAuthorityId,
  type Slot,
  type X509Ca,
  x509Ca,
} from "#server/ca/authority/authority.ts";
import { type CaJournal, journalX509Ca, withPrepared } from "#server/ca/authority/journal.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import { x509KeyId } from "#server/ca/authority/prepare-x509.ts";
import { caSubjectDer } from "#server/ca/profile/profile.ts";
import { newSerial, serialText } from "#server/ca/profile/serial.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { OfflineAuthority } from "#upstream/upstream-authority.ts";
import { createCsr, parseCsr } from "#x509/csr.ts";
import { isoTime } from "#x509/iso-time.ts";
import { confirmCertificate } from "#x509/peculiar.ts";
import { encodePem } from "#x509/pem.ts";
import { acceptedPath, type CaPath, type SignedAnswer, tryOut } from "./accept-signed.ts";

/** A request that waits for a signature. */
export interface PendingRequest {
  readonly slot: Slot;
  readonly key: ManagedKey;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
  /** Unix seconds. */
  readonly requestedAt: number;
}

export class OfflineRequests {
  readonly authority: OfflineAuthority;
  readonly #parts: CaManagerParts;
  readonly #journal: CaJournal;
  #pending: PendingRequest | undefined;
  /** Whether that was logged: a path that stays as it is makes one line, not one every few seconds. */
  #isFileAmiss = false;

  /** Goes on with the request of the last run. */
  constructor(authority: OfflineAuthority, parts: CaManagerParts, journal: CaJournal) {
    this.authority = authority;
    this.#parts = parts;
    this.#journal = journal;
    this.#pending = this.#recovered();
  }

  get pending(): PendingRequest | undefined {
    return this.#pending;
  }

  /**
   * Makes a request with a key of its own, unless one waits already: that one may be on its way.
   *
   * @returns undefined: there is no CA before the answer
   * @throws Error
   */
  async begin(slot: Slot): Promise<undefined> {
    if (this.#pending !== undefined) return;
    const { keyManager, caKeyType, profile, trustDomain, clock, random, log } = this.#parts;
    const key = await keyManager.generateKey(x509KeyId(slot), caKeyType);
    // A serial number keeps the subjects of one server's CAs apart: some signers take no subject twice.
    const serialNumber = serialText(newSerial(random));
    const csr = await createCsr({
      signer: key,
      subjectDer: caSubjectDer(profile().caSubject, { serialNumber }),
      uriSan: trustDomain.id,
    });
    const requestedAt = clock.nowSeconds();
    // Nobody sees the request before it is written down.
    await this.#journal.request({ slot, requestedAt, csr: Buffer.from(csr).toString("base64") });
    this.#pending = { slot, key, csr, requestedAt };
    log.warn(
      "The X509 CA must be signed by hand: have the request signed, then import the certificate",
      {
        csr_path: this.authority.csrPath,
        local_authority_id: likelyAuthorityId(key),
      },
    );
    await this.showRequest();
  }

  /**
   * Takes the answer to the request. When this resolves, the CA is in the journal as prepared, and its root is in the stored bundle.
   *
   * @param activeEndsAt Unix seconds; undefined where nothing signs now
   * @throws StatusError FAILED_PRECONDITION when nothing waits, INVALID_ARGUMENT saying what is wrong; nothing has changed then
   */
  async accept(answer: SignedAnswer, activeEndsAt: number | undefined): Promise<X509Ca> {
    const { bundles, trustDomain, clock, log } = this.#parts;
    const { slot, key } = this.pendingOrRefuse();
    const now = clock.nowSeconds();
    const anchors = await this.#anchors();
    const known = (await bundles.find(trustDomain.name))?.x509Authorities ?? [];
    const path = acceptedPath(this.#parts, answer, { key, anchors, known, activeEndsAt, now });
    const ca = this.#caOf(path, slot, key, now);
    await tryOut(this.#parts, ca, path);
    await confirmed(path);
    const [, issuer] = path;
    const root = { certificate: path[path.length - 1]?.der ?? issuer.der, tainted: false };
    await bundles.append({ ...emptyBundle(trustDomain), x509Authorities: [root] });
    const record = journalX509Ca(ca);
    await this.#journal.answerRequest((records) => withPrepared(records, record, now));
    this.#pending = undefined;
    log.info("X509 CA prepared", { ...authorityFields(ca), self_signed: false });
    await this.showRequest();
    return ca;
  }

  /** @throws StatusError FAILED_PRECONDITION when nothing waits */
  pendingOrRefuse(): PendingRequest {
    if (this.#pending !== undefined) return this.#pending;
    throw new StatusError(
      StatusCode.FAILED_PRECONDITION,
      "no request waits for a signature: `spire-server ca show` tells when the next one is made; `spire-server localauthority x509 prepare` makes one now",
    );
  }

  /** Has the file say what is true: the request that waits, or nothing. A file that cannot be written holds up nothing. */
  async showRequest(): Promise<void> {
    try {
      if (this.#pending === undefined) await this.authority.removeRequest();
      else await this.authority.putRequest(encodePem("CERTIFICATE REQUEST", this.#pending.csr));
      this.#isFileAmiss = false;
    } catch (error) {
      if (!this.#isFileAmiss) {
        const text =
          "The file of the X509 CA's request could not be kept; `spire-server ca csr` has it";
        this.#parts.log.warn(text, { csr_path: this.authority.csrPath, error });
      }
      this.#isFileAmiss = true;
    }
  }

  #caOf(path: CaPath, slot: Slot, key: ManagedKey, now: number): X509Ca {
    const [certificate] = path;
    return x509Ca({
      slot,
      key,
      certificate,
      chain: path.slice(0, -1).map(({ der }) => der),
      issuedAt: Math.max(now, certificate.notBefore),
      upstreamVersion: this.authority.name,
    });
  }

  async #anchors(): Promise<readonly Uint8Array[] | undefined> {
    try {
      return await this.authority.trustAnchors();
    } catch (error) {
      throw new StatusError(StatusCode.FAILED_PRECONDITION, errorText(error), { cause: error });
    }
  }

  #recovered(): PendingRequest | undefined {
    const { keyManager, log } = this.#parts;
    const record = this.#journal.x509Request;
    if (record === undefined) return undefined;
    const { slot, requestedAt } = record;
    const csr = Buffer.from(record.csr, "base64");
    const key = keyManager.key(x509KeyId(slot));
    if (key !== undefined && Buffer.compare(key.publicKeySpki, parseCsr(csr).publicKeySpki) === 0) {
      return { slot, key, csr, requestedAt };
    }
    log.warn("The key of the pending request is lost: a certificate for it would be of no use", {
      requested_at: isoTime(requestedAt),
    });
    return undefined;
  }
}

/** A second implementation must agree that the issuer signed. */
async function confirmed([certificate, issuer]: CaPath): Promise<void> {
  try {
    await confirmCertificate(certificate.der, issuer.der);
  } catch (error) {
    throw new StatusError(
      StatusCode.INVALID_ARGUMENT,
      `the CA certificate is refused: ${errorText(error)}`,
      { cause: error },
    );
  }
}
