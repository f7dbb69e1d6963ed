/**
 * The UpstreamAuthority `spire`: a server of the same trust domain, whose downstream this server is. It signs the CA, has the trust
 * bundle of all, and makes the JWT keys of each known to all others. Opened by its plugin, called by the CA Manager.
 */
import type { JwtAuthority } from "#spiffe/bundle.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type {
  MintX509CaResult,
  UpstreamAuthority,
  UpstreamBundle,
  UpstreamParts,
} from "#upstream/upstream-authority.ts";
import { upstreamBundleFrom, upstreamJwtKeysFrom } from "./bundle-message.ts";
import type { SpireUpstreamConfig } from "./config.ts";
import { UpstreamServer } from "./upstream-server.ts";
import { WorkloadIdentity } from "./workload-identity.ts";

/** Authorities come and go above without this server having to act: its CA stays good until its time, or until a taint. */
const VERSION = "spire";

/** Opens the authority. It may be out of reach now: it is called when there is something to ask. */
export function openSpireUpstreamAuthority(
  config: SpireUpstreamConfig,
  parts: UpstreamParts,
): SpireUpstreamAuthority {
  return new SpireUpstreamAuthority(config, parts);
}

export class SpireUpstreamAuthority implements UpstreamAuthority {
  readonly name: string = "spire";
  readonly #parts: UpstreamParts;
  #identity: WorkloadIdentity;
  #server: UpstreamServer;

  constructor(config: SpireUpstreamConfig, parts: UpstreamParts) {
    const { trustDomain, clock } = parts;
    this.#parts = parts;
    this.#identity = new WorkloadIdentity(config.workloadApiSocket, parts);
    this.#server = new UpstreamServer({ ...config, trustDomain }, this.#identity, clock);
  }

  get problem(): string | undefined {
    return this.#server.problem;
  }

  /** Turns to another server. Calls under way end as if the one before had gone away, and are made again. */
  configure(config: SpireUpstreamConfig): void {
    const { trustDomain, clock } = this.#parts;
    this.close();
    this.#identity = new WorkloadIdentity(config.workloadApiSocket, this.#parts);
    this.#server = new UpstreamServer({ ...config, trustDomain }, this.#identity, clock);
  }

  async currentVersion(): Promise<string> {
    return VERSION;
  }

  async mintX509Ca(csr: Uint8Array, preferredTtl: number): Promise<MintX509CaResult> {
    const { caCertChain } = await this.#server.call("svid", "newDownstreamX509Ca", {
      csr,
      preferredTtl,
    });
    // The answer names the authorities too, but does not say which of them are tainted.
    const { x509Authorities } = await this.fetchBundle();
    return { caChain: caCertChain, upstreamRoots: x509Authorities, version: VERSION };
  }

  async fetchBundle(): Promise<UpstreamBundle> {
    const message = await this.#server.call("bundle", "getBundle", { outputMask: undefined });
    return reading(() => upstreamBundleFrom(message, this.#parts.trustDomain));
  }

  async publishJwtKey(key: JwtAuthority): Promise<readonly JwtAuthority[]> {
    const { publicKey, keyId, expiresAt } = key;
    const jwtAuthority = { publicKey, keyId, expiresAt, tainted: false };
    const answer = await this.#server.call("bundle", "publishJwtAuthority", { jwtAuthority });
    return reading(() => upstreamJwtKeysFrom(answer.jwtAuthorities));
  }

  close(): void {
    this.#server.close();
    this.#identity.close();
  }
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const words = `the upstream server's bundle is of no use: ${errorText(error)}`;
    throw new StatusError(StatusCode.INTERNAL, words, { cause: error });
  }
}
