/**
 * A CA that is signed by hand, over time: what it waits for, what is said of that, and what the operator brings. Called by the authorities at
 * every turn of their loop, and by the API.
 */

import type { X509Ca } from "#server/ca/authority/authority.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import type { Rotation } from "#server/ca/rotation/rotation.ts";
import { errorText } from "#spiffe/status-error.ts";
import { isoTime } from "#x509/iso-time.ts";
import type { SignedAnswer } from "./accept-signed.ts";
import type { OfflineRequests, PendingRequest } from "./offline-requests.ts";

/** Warnings come the closer together the nearer the end is: each after a tenth of the time that was left. */
const WARNINGS_UNTIL_END = 10;
const SHORTEST_PAUSE_SECONDS = 60;
const LONGEST_PAUSE_SECONDS = 24 * 3600;
/** Without a CA. */
const WAITING_PAUSE_SECONDS = 600;
/** The share of its life that a CA signs beside its successor (rotation.ts). */
const OVERLAP_SHARE = 6;

export interface Imported {
  readonly ca: X509Ca;
  /** What the operator should know although the certificate was taken. */
  readonly warnings: readonly string[];
}

export class OfflineCa {
  readonly #parts: CaManagerParts;
  readonly #requests: OfflineRequests;
  readonly #rotation: Rotation<X509Ca>;
  readonly #onImported: () => void;
  /** Unix seconds. */
  #nextWarningAt = 0;

  constructor(
    parts: CaManagerParts,
    requests: OfflineRequests,
    rotation: Rotation<X509Ca>,
    onImported: () => void,
  ) {
    this.#parts = parts;
    this.#requests = requests;
    this.#rotation = rotation;
    this.#onImported = onImported;
    // That there is none is said at the start.
    if (this.waitingFor() !== undefined) {
      this.#nextWarningAt = parts.clock.nowSeconds() + WAITING_PAUSE_SECONDS;
    }
  }

  get csrPath(): string {
    return this.#requests.authority.csrPath;
  }

  get warnBeforeSeconds(): number {
    return this.#requests.authority.warnBeforeSeconds;
  }

  get pending(): PendingRequest | undefined {
    return this.#requests.pending;
  }

  /** @throws StatusError FAILED_PRECONDITION when nothing waits */
  pendingOrRefuse(): PendingRequest {
    return this.#requests.pendingOrRefuse();
  }

  /** What keeps the server from signing; undefined while a CA signs. */
  waitingFor(): string | undefined {
    const now = this.#parts.clock.nowSeconds();
    const { active, prepared } = this.#rotation.state;
    if (active !== undefined && active.notAfter > now) return undefined;
    if (prepared !== undefined && prepared.notAfter > now) {
      return `waiting for CA: the one that was imported begins at ${isoTime(prepared.certificate.notBefore)}`;
    }
    return `waiting for CA: csr at ${this.csrPath}`;
  }

  /**
   * Takes what was signed for the pending request; again, where the answer got lost. It signs at once where nothing else does, and otherwise when its turn comes.
   *
   * @throws StatusError saying what is wrong; nothing has changed then
   */
  async import(answer: SignedAnswer): Promise<Imported> {
    const { clock, log } = this.#parts;
    const now = clock.nowSeconds();
    const { active } = this.#rotation.state;
    const known = this.#known(answer.certificates);
    if (known !== undefined && this.pending === undefined) return { ca: known, warnings: [] };
    const endsAt = active !== undefined && active.notAfter > now ? active.notAfter : undefined;
    const ca = await this.#rotation.adopt(() => this.#requests.accept(answer, endsAt));
    this.#nextWarningAt = 0;
    const warnings = this.#warningsOf(ca);
    for (const warning of warnings) log.warn("X509 CA imported, but", { warning });
    try {
      await this.#rotation.advance(now);
    } catch (error) {
      // It is stored, and the loop tries again.
      log.error("Unable to activate the X509 CA", { error: errorText(error) });
    }
    this.#onImported();
    return { ca, warnings };
  }

  /** Does what is to be done again and again. @throws Error when a request cannot be made */
  async look(): Promise<void> {
    const { name } = this.#requests.authority;
    // A CA from before the authority was configured goes on until its time, but the next one is wanted at once.
    if (this.pending === undefined) {
      await this.#rotation.prepareUnless(({ upstreamVersion }) => upstreamVersion === name);
    }
    await this.#requests.showRequest();
    if (this.pending === undefined) return;
    await this.#takeFile();
    if (this.pending !== undefined) this.#warn();
  }

  /** A file that does not fit is told of once. */
  async #takeFile(): Promise<void> {
    const { log } = this.#parts;
    try {
      const certificates = await this.#requests.authority.newAnswer();
      // The answer to the last request may lie there until the next one comes.
      if (certificates === undefined || this.#known(certificates) !== undefined) return;
      await this.import({ certificates, roots: [] });
    } catch (error) {
      log.error("The file at import_path could not be imported", { error: errorText(error) });
    }
  }

  /** The CA that is among the certificates, if it was imported already. */
  #known(certificates: readonly Uint8Array[]): X509Ca | undefined {
    const { active, prepared } = this.#rotation.state;
    return [active, prepared].find(
      (ca) =>
        ca !== undefined &&
        certificates.some((der) => Buffer.compare(der, ca.certificate.der) === 0),
    );
  }

  #warn(): void {
    const { clock, log } = this.#parts;
    const now = clock.nowSeconds();
    if (now < this.#nextWarningAt) return;
    const { active, prepared } = this.#rotation.state;
    const endsAt = Math.max(active?.notAfter ?? 0, prepared?.notAfter ?? 0);
    const left = endsAt - now;
    const fields = { csr_path: this.csrPath, expiration: endsAt === 0 ? "none" : isoTime(endsAt) };
    if (left <= 0) {
      this.#nextWarningAt = now + WAITING_PAUSE_SECONDS;
      log.error(
        "There is no X509 CA: the server signs nothing until the certificate for its request is imported",
        fields,
      );
      return;
    }
    // A request that was made early, by hand, is nobody's trouble yet.
    if (now < this.#rotation.preparesAt) return;
    const pause = Math.max(left / WARNINGS_UNTIL_END, SHORTEST_PAUSE_SECONDS);
    this.#nextWarningAt = now + Math.min(pause, LONGEST_PAUSE_SECONDS);
    const hours = Math.floor(left / 3600);
    log.warn("The X509 CA ends, and its successor is not signed yet", {
      ...fields,
      time_left: hours >= 48 ? `${Math.floor(hours / 24)} days` : `${hours} hours`,
    });
  }

  #warningsOf({ certificate, issuedAt, notAfter }: X509Ca): string[] {
    const { trustDomain, profile } = this.#parts;
    const { defaultX509SvidTtlSeconds, agentTtlSeconds } = profile();
    const longest = Math.max(defaultX509SvidTtlSeconds, agentTtlSeconds);
    const warnings: string[] = [];
    if (notAfter - issuedAt < longest * OVERLAP_SHARE) {
      warnings.push(
        `it ends at ${isoTime(notAfter)} already, so X509-SVIDs will live shorter than configured (${longest}s) towards its end`,
      );
    }
    if (certificate.uriSans.length === 0) {
      warnings.push(`it has no URI SAN; X509-SVID §2 recommends "${trustDomain.id}"`);
    }
    return warnings;
  }
}
