/**
 * Who calls. A Unix socket makes a caller local; over TLS the client certificate, if there is one, must be an X509-SVID
 * that chains to the bundle of its trust domain. The TLS listener checks nothing of that, so whatever cannot be verified
 * here is refused, also for methods that anybody may call.
 */
import type { Clock } from "#clock/clock.ts";
import type { Caller } from "#grpc/caller.ts";
import type { UnixPeer } from "#grpc/peer.ts";
import { isAgentId } from "#spiffe/reserved-id.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyX509Svid } from "#x509/svid.ts";
import type { TrustRoots } from "./trust-roots.ts";

export type CallerIdentity =
  | { readonly kind: "local"; readonly peer: UnixPeer }
  | { readonly kind: "anonymous"; readonly address: string }
  | {
      readonly kind: "spiffe";
      readonly address: string;
      readonly id: SpiffeId;
      readonly certificate: Certificate;
    };

interface Verified {
  readonly identity: Extract<CallerIdentity, { readonly kind: "spiffe" }>;
  readonly roots: readonly Certificate[];
  /** Unix seconds. */
  readonly validUntil: number;
}

export interface CallerIdentitiesParts {
  readonly trustDomain: TrustDomain;
  /** Those of the configuration, as it is at this moment. */
  readonly adminIds: () => readonly SpiffeId[];
  readonly trustRoots: TrustRoots;
  readonly clock: Clock;
}

export class CallerIdentities {
  readonly #parts: CallerIdentitiesParts;
  /** A connection makes many calls with one chain; verifying it costs more than most calls do. */
  readonly #verified = new WeakMap<readonly Uint8Array[], Verified>();

  constructor(parts: CallerIdentitiesParts) {
    this.#parts = parts;
  }

  /** @throws StatusError UNAUTHENTICATED, or PERMISSION_DENIED with AGENT_EXPIRED for an agent whose time ran out */
  async identify(caller: Caller): Promise<CallerIdentity> {
    if (caller.kind === "unix") return { kind: "local", peer: caller.peer };
    const { certificates, remoteAddress: address } = caller;
    const [leafDer] = certificates;
    if (leafDer === undefined) return { kind: "anonymous", address };
    // Reading a certificate costs more than many a call, so a known one is not read again.
    const known = this.#verified.get(certificates);
    const certificate = known?.identity.certificate ?? parseLeaf(leafDer);
    const id = known?.identity.id ?? idOf(certificate);
    const roots = await this.#rootsFor(id);
    const now = this.#parts.clock.nowSeconds();
    if (known !== undefined && known.roots === roots && now <= known.validUntil) {
      return known.identity;
    }
    const chain = this.#verify(certificates, certificate, id, roots, now);
    const identity = { kind: "spiffe", address, id, certificate } as const;
    const validUntil = Math.min(...chain.map(({ notAfter }) => notAfter));
    this.#verified.set(certificates, { identity, roots, validUntil });
    return identity;
  }

  isConfiguredAdmin(id: SpiffeId): boolean {
    return this.#parts.adminIds().some((adminId) => adminId.equals(id));
  }

  async #rootsFor(id: SpiffeId): Promise<readonly Certificate[]> {
    if (!id.memberOf(this.#parts.trustDomain) && !this.isConfiguredAdmin(id)) {
      throw unauthenticated(`unexpected trust domain in ID "${id}"`);
    }
    const roots = await this.#parts.trustRoots.rootsOf(id.trustDomain);
    if (roots === undefined) {
      throw unauthenticated(`no bundle found for trust domain "${id.trustDomain}"`);
    }
    return roots;
  }

  #verify(
    certificates: readonly Uint8Array[],
    leaf: Certificate,
    id: SpiffeId,
    roots: readonly Certificate[],
    now: number,
  ): readonly Certificate[] {
    const chainAt = (atSeconds: number): readonly Certificate[] =>
      verifyX509Svid([...certificates], () => roots, atSeconds).chain;
    try {
      return chainAt(now);
    } catch (error) {
      if (leaf.notAfter < now && this.#isOwnAgent(id) && succeeds(() => chainAt(leaf.notAfter))) {
        // Nothing but the time is wrong: tell the agent, so that it attests again instead of guessing.
        throw new StatusError(StatusCode.PERMISSION_DENIED, `agent "${id}" SVID is expired`, {
          reason: "AGENT_EXPIRED",
        });
      }
      throw unauthenticated(`client certificate cannot be verified: ${errorText(error)}`);
    }
  }

  #isOwnAgent(id: SpiffeId): boolean {
    return id.memberOf(this.#parts.trustDomain) && isAgentId(id);
  }
}

function parseLeaf(der: Uint8Array): Certificate {
  try {
    return Certificate.parse(der);
  } catch (error) {
    throw unauthenticated(`client certificate is malformed: ${errorText(error)}`);
  }
}

/** X.509-SVID §2: exactly one URI SAN, and it is the SPIFFE ID. */
function idOf(certificate: Certificate): SpiffeId {
  const [uri, ...others] = certificate.uriSans;
  if (uri === undefined) throw unauthenticated("client certificate has no URI SAN");
  if (others.length > 0) throw unauthenticated("client certificate has more than one URI SAN");
  try {
    return SpiffeId.parse(uri);
  } catch (error) {
    throw unauthenticated(`client certificate has a malformed URI SAN: ${problemText(error)}`);
  }
}

function unauthenticated(message: string): StatusError {
  return new StatusError(StatusCode.UNAUTHENTICATED, message);
}

function succeeds(run: () => unknown): boolean {
  try {
    run();
    return true;
  } catch {
    return false;
  }
}
