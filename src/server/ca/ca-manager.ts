/**
 * CA Manager: the signing authorities of this server and everything they sign. It never signs with an authority that is not in the stored
 * bundle and journal. Called by the API, and by the server for its own SVID.
 */
import type { KeyObject } from "node:crypto";
import { serverId } from "#spiffe/reserved-id.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { JwtKey, X509Ca } from "./authority.ts";
import {
  issueDownstreamCa,
  issueJwtSvid,
  issueX509Svid,
  type JwtSvid,
  type X509Svid,
} from "./issue.ts";
import { encodeJournal, type JournalJwtKey, type JournalX509Ca } from "./journal.ts";
import { checkSvid } from "./lint.ts";
import type { CaManagerParts } from "./parts.ts";
import { prepareJwtKey } from "./prepare-jwt.ts";
import { prepareX509Ca } from "./prepare-x509.ts";
import { caSubjectDer, NOT_BEFORE_CUSHION_SECONDS, svidSubjectDer } from "./profile.ts";
import { type Recovered, recover } from "./recover.ts";
import { Rotation } from "./rotation.ts";

export type { JwtSvid, X509Svid };

/** As the reference. */
const ROTATION_INTERVAL_MS = 10_000;

export interface X509SvidFields {
  readonly id: SpiffeId;
  /** DER; its signature as a request is the caller's to have checked. */
  readonly publicKeySpki: Uint8Array;
  readonly publicKey?: KeyObject;
  /** Seconds; 0 or absent means the default. */
  readonly ttlSeconds?: number;
  readonly dnsNames?: readonly string[];
  /** Name, DER; absent or empty means the default. */
  readonly subjectDer?: Uint8Array;
}

export class CaManager {
  readonly #parts: CaManagerParts;
  readonly #x509: Rotation<X509Ca>;
  readonly #jwt: Rotation<JwtKey>;
  readonly #stopping: AbortController = new AbortController();

  private constructor(parts: CaManagerParts, recovered: Recovered) {
    this.#parts = parts;
    this.#x509 = new Rotation(
      {
        prepare: (slot) => prepareX509Ca(parts, slot),
        record: (active, next) =>
          this.#record({ active, next }, { active: this.#jwt.active, next: this.#jwt.next }),
      },
      recovered.x509.active,
      recovered.x509.next,
    );
    this.#jwt = new Rotation(
      {
        prepare: (slot) => prepareJwtKey(parts, slot),
        record: (active, next) =>
          this.#record({ active: this.#x509.active, next: this.#x509.next }, { active, next }),
      },
      recovered.jwt.active,
      recovered.jwt.next,
    );
  }

  /** Recovers the authorities of the last run, or makes new ones. @throws Error or StatusError when it cannot */
  static async open(parts: CaManagerParts): Promise<CaManager> {
    const manager = new CaManager(parts, await recover(parts));
    await manager.#advance();
    return manager;
  }

  /** From now on rotates by itself. */
  start(): void {
    void this.#rotate();
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #rotate(): Promise<void> {
    const { clock, log } = this.#parts;
    const { signal } = this.#stopping;
    for (;;) {
      await clock.sleep(ROTATION_INTERVAL_MS, signal);
      if (signal.aborted) return;
      try {
        await this.#advance();
      } catch (error) {
        log.error("Could not rotate CA", { error: errorText(error) });
      }
    }
  }

  async #advance(): Promise<void> {
    const now = this.#parts.clock.nowSeconds();
    await this.#x509.advance(now);
    await this.#jwt.advance(now);
  }

  async #record(
    x509: { active: X509Ca | undefined; next: X509Ca | undefined },
    jwt: { active: JwtKey | undefined; next: JwtKey | undefined },
  ): Promise<void> {
    const journal = {
      version: 1 as const,
      x509: [...journalX509(x509.active, true), ...journalX509(x509.next, false)],
      jwt: [...journalJwt(jwt.active, true), ...journalJwt(jwt.next, false)],
    };
    await this.#parts.journals.save(encodeJournal(journal));
  }

  /** Issues a workload's X509-SVID; its life is cut to the CA's. @throws StatusError UNAVAILABLE without a CA */
  x509Svid(fields: X509SvidFields): Promise<X509Svid> {
    return this.#issueX509(fields, fields.ttlSeconds || this.#parts.defaultX509SvidTtlSeconds);
  }

  agentSvid(fields: X509SvidFields): Promise<X509Svid> {
    return this.#issueX509(fields, this.#parts.agentTtlSeconds);
  }

  serverSvid(publicKeySpki: Uint8Array): Promise<X509Svid> {
    const id = serverId(this.#parts.trustDomain);
    return this.#issueX509({ id, publicKeySpki }, this.#parts.defaultX509SvidTtlSeconds);
  }

  async #issueX509(fields: X509SvidFields, ttlSeconds: number): Promise<X509Svid> {
    const { clock, random, trustDomain } = this.#parts;
    const ca = this.#activeX509();
    const now = clock.nowSeconds();
    const dnsNames = fields.dnsNames ?? [];
    const request = {
      id: fields.id,
      publicKeySpki: fields.publicKeySpki,
      subjectDer: svidSubjectDer(fields.subjectDer, dnsNames),
      dnsNames,
      notBefore: now - NOT_BEFORE_CUSHION_SECONDS,
      notAfter: Math.min(now + ttlSeconds, ca.notAfter),
    };
    return issueX509Svid(checkSvid(request, trustDomain, ca.notAfter), ca, random);
  }

  /** Issues a CA certificate for a server below this one. */
  async downstreamCa(fields: {
    readonly publicKeySpki: Uint8Array;
    readonly publicKey?: KeyObject;
    readonly ttlSeconds?: number;
  }): Promise<{ readonly chain: readonly Uint8Array[]; readonly expiresAt: number }> {
    const { clock, random, trustDomain, caSubject, caTtlSeconds } = this.#parts;
    const ca = this.#activeX509();
    const now = clock.nowSeconds();
    const notAfter = Math.min(now + (fields.ttlSeconds || caTtlSeconds), ca.notAfter);
    const depth = Math.max(1, ca.chain.length);
    const chain = await issueDownstreamCa(
      {
        subjectDer: (serialNumber) =>
          caSubjectDer(caSubject, { organizationalUnit: [`DOWNSTREAM-${depth}`], serialNumber }),
        publicKeySpki: fields.publicKeySpki,
        trustDomainId: trustDomain.id,
        notBefore: now - NOT_BEFORE_CUSHION_SECONDS,
        notAfter,
      },
      ca,
      random,
    );
    return { chain, expiresAt: notAfter };
  }

  /** Issues a JWT-SVID; its life is cut to the key's. @throws StatusError UNAVAILABLE without a key */
  async jwtSvid(fields: {
    readonly id: SpiffeId;
    readonly audience: readonly string[];
    readonly ttlSeconds?: number;
    readonly includeJti?: boolean;
  }): Promise<JwtSvid> {
    const { clock, random, jwtIssuer, defaultJwtSvidTtlSeconds } = this.#parts;
    const key = this.#jwt.active;
    const now = clock.nowSeconds();
    if (key === undefined || key.notAfter <= now) {
      throw new StatusError(StatusCode.UNAVAILABLE, "JWT key is not available yet");
    }
    const ttl = fields.ttlSeconds || defaultJwtSvidTtlSeconds;
    return issueJwtSvid(
      {
        id: fields.id,
        audience: fields.audience,
        issuedAt: now,
        expiresAt: Math.min(now + ttl, key.notAfter),
        issuer: jwtIssuer,
        tokenId: fields.includeJti
          ? Buffer.from(random.bytes(16)).toString("base64url")
          : undefined,
      },
      key,
    );
  }

  #activeX509(): X509Ca {
    const ca = this.#x509.active;
    if (ca === undefined || ca.notAfter <= this.#parts.clock.nowSeconds()) {
      throw new StatusError(StatusCode.UNAVAILABLE, "X509 CA is not available for signing");
    }
    return ca;
  }
}

function journalX509(ca: X509Ca | undefined, active: boolean): JournalX509Ca[] {
  if (ca === undefined) return [];
  const base64 = (der: Uint8Array): string => Buffer.from(der).toString("base64");
  const { slot, issuedAt, certificate, chain } = ca;
  return [
    { slot, active, issuedAt, certificate: base64(certificate.der), chain: chain.map(base64) },
  ];
}

function journalJwt(jwt: JwtKey | undefined, active: boolean): JournalJwtKey[] {
  if (jwt === undefined) return [];
  const { slot, issuedAt, notAfter, authorityId, key } = jwt;
  const publicKey = Buffer.from(key.publicKeySpki).toString("base64");
  return [{ slot, active, issuedAt, notAfter, keyId: authorityId, publicKey }];
}
