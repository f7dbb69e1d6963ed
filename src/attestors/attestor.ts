/**
 * The three attestor ports. A node attestor has an agent half that proves and a server half that checks; a workload
 * attestor names the properties of a process that called the Workload API. Plain data in, plain data out.
 */
import type { KeyObject } from "node:crypto";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Systemd } from "#dbus/systemd.ts";
import type { Log } from "#log/log.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import type { Selector } from "#spiffe/selector.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/** What the agent half needs from the stream to the server: one challenge in, one response out. */
export interface ChallengeStream {
  /** Sends the first message: the payload of the AttestAgent parameters. */
  sendPayload(payload: Uint8Array): Promise<void>;
  /** Waits for the server's next challenge. Resolves undefined when the server is satisfied. */
  receiveChallenge(): Promise<Uint8Array | undefined>;
  sendChallengeResponse(response: Uint8Array): Promise<void>;
}

/** There is nothing to prove the node with, at present; the message says what an operator must do. */
export class CannotAttestError extends Error {
  override readonly name: string = "CannotAttestError";
}

export interface NodeAttestorAgent {
  /** The attestation type on the wire, for instance `join_token`. */
  readonly type: string;
  /**
   * Runs the agent's side of one attestation; called again whenever the node has to be attested anew.
   *
   * @throws CannotAttestError before anything is sent, or StatusError
   */
  attest(stream: ChallengeStream): Promise<void>;
}

/** Gets a node attestor ready for one attestation. @throws CannotAttestError or Error when it lacks what it needs */
export type OpenNodeAttestor = () => Promise<NodeAttestorAgent>;

/** A node attestor as an agent has it over its whole life. */
export interface NodeAttestorOpener {
  readonly open: OpenNodeAttestor;
}

/** What the agent half of a node attestor may use. */
export interface NodeAttestorAgentParts {
  readonly random: Random;
  /** The join token that the operator has given. @throws CannotAttestError when there is none */
  readonly joinToken: () => Promise<string>;
  /** The node's own X509-SVID from the Workload API behind a socket. @throws StatusError when there is none */
  readonly fetchIdentity: (socketPath: string) => Promise<NodeIdentity>;
}

/** A certificate of the node, and its key. */
export interface NodeIdentity {
  readonly privateKey: KeyObject;
  /** DER, the node's first, then intermediates. */
  readonly certificates: readonly Uint8Array[];
}

export interface NodeAttestation {
  /** The agent's SPIFFE ID. */
  readonly agentId: string;
  /** Other SPIFFE IDs that the very same node would get by another form of what it proves itself with: it is known by whichever it got first. */
  readonly otherIds?: readonly string[];
  readonly selectors: readonly Selector[];
  /** Whether the same node may attest again by the same means. */
  readonly canReattest: boolean;
  /** What the node gets in by, when it is a join token: storing the node uses it up. */
  readonly joinToken?: JoinTokenClaim;
}

export interface JoinTokenClaim {
  readonly token: string;
  /** Of the key (SubjectPublicKeyInfo) that the node is to be known by. */
  readonly publicKeySha256: Uint8Array;
  /** The moment of the claim, Unix seconds. */
  readonly now: number;
  /** A token that the same key used at this moment (Unix seconds) or later is still good for that key. */
  readonly usedSince: number;
}

/** Who asks to be attested, as far as it is known before. */
export interface NodePeer {
  /** The key (SubjectPublicKeyInfo, DER) that the SVID is to be for; that its holder asks is proven. */
  readonly publicKeySpki: Uint8Array;
  /** The address the connection comes from; undefined when it came over no network. */
  readonly ipAddress?: string;
}

export interface NodeAttestorServer {
  readonly type: string;
  /**
   * Checks one attestation.
   *
   * @param challenge sends a challenge and resolves with the agent's response
   * @throws StatusError with the code the agent is to see
   */
  attest(
    payload: Uint8Array,
    challenge: (bytes: Uint8Array) => Promise<Uint8Array>,
    node: NodePeer,
  ): Promise<NodeAttestation>;
}

/** What the server half of a node attestor may use. */
export interface NodeAttestorServerParts {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  readonly joinTokens: {
    /** Finds a token that is good for the claimant. */
    find(claim: JoinTokenClaim): Promise<FoundToken | undefined>;
  };
  readonly bundles: {
    find(trustDomain: string): Promise<Pick<Bundle, "x509Authorities"> | undefined>;
  };
  readonly log: Log;
}

export interface FoundToken {
  /** Unix seconds. */
  readonly expiresAt: number;
  /** The agent ID that the node has from before; undefined for a new node. */
  readonly rejoins?: string;
}

/** The process at the other end of a Unix socket, as the kernel vouches for it. */
export interface PeerProcess {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /**
   * Whether the process that connected is still the one behind the pid. Ask after reading /proc: alive then means that
   * everything read belongs to it.
   */
  isAlive(): boolean;
}

/** A selector that a process may have, but was not given. */
export interface Omission {
  /** Type and name, for instance `unix:path`. */
  readonly selector: string;
  /** Why, in words for whoever expected it. It tells a workload nothing of the machine that it does not know. */
  readonly reason: string;
  /** Whether another attempt may find it: then nobody may be told yet that no entry matches. */
  readonly isTemporary: boolean;
}

export interface WorkloadAttestation {
  readonly selectors: readonly Selector[];
  readonly omissions: readonly Omission[];
}

export interface WorkloadAttestor {
  /** The selector type it produces, for instance `unix`. */
  readonly type: string;
  /**
   * @param signal aborts when nobody waits for the answer any more; whatever takes long ends with it
   * @throws StatusError when nothing can be said about the process at present, or when it went away meanwhile
   */
  attest(peer: PeerProcess, signal: AbortSignal): Promise<WorkloadAttestation>;
}

/** What a workload attestor may use. */
export interface WorkloadAttestorParts {
  readonly systemd: Pick<Systemd, "unitOf">;
  readonly clock: Clock;
}
