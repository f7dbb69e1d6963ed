/**
 * The UpstreamAuthority `disk`: a CA whose key and certificates lie in files. The files are looked at again and again, so that a
 * CA can be replaced under a running server. Opened by its plugin, called by the CA Manager.
 */
import { createHash } from "node:crypto";
import type { Clock } from "#clock/clock.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type {
  MintX509CaResult,
  UpstreamAuthority,
  UpstreamParts,
} from "#upstream/upstream-authority.ts";
import { type Authority, checkAuthority } from "./authority.ts";
import { issueIntermediate } from "./issue-intermediate.ts";
import { type AuthorityFiles, contentDigest, loadAuthority } from "./load.ts";

/**
 * Opens the authority; what is wrong with its files shows at start, not at the first rotation.
 *
 * @throws StatusError INVALID_ARGUMENT naming the file or what does not fit
 */
export async function openDiskUpstreamAuthority(
  config: AuthorityFiles,
  parts: UpstreamParts,
): Promise<DiskUpstreamAuthority> {
  try {
    return new DiskUpstreamAuthority(config, parts, await load(config, parts.clock));
  } catch (error) {
    const text = `UpstreamAuthority "disk": ${errorText(error)}`;
    throw new StatusError(StatusCode.INVALID_ARGUMENT, text, { cause: error });
  }
}

export class DiskUpstreamAuthority implements UpstreamAuthority {
  readonly name: string = "disk";
  #config: AuthorityFiles;
  readonly #parts: UpstreamParts;
  #authority: Authority;
  /** What the files held when the authority was read from them. */
  #readFrom: string | undefined;
  /** The last problem that was logged: files that stay as they are make one line, not one every few seconds. */
  #problem: string | undefined;

  constructor(config: AuthorityFiles, parts: UpstreamParts, authority: Authority) {
    this.#config = config;
    this.#parts = parts;
    this.#authority = authority;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes other files. @throws Error when they do not fit; those before are used on */
  async configure(config: AuthorityFiles): Promise<void> {
    this.#authority = await load(config, this.#parts.clock);
    this.#config = config;
    this.#readFrom = undefined;
  }

  async currentVersion(): Promise<string> {
    await this.#reload();
    return versionOf(this.#authority);
  }

  async mintX509Ca(csr: Uint8Array, preferredTtlSeconds: number): Promise<MintX509CaResult> {
    await this.#reload();
    const authority = this.#authority;
    const { trustDomain, clock, random } = this.#parts;
    try {
      const certificate = await issueIntermediate(
        { authority, trustDomain, csr, preferredTtlSeconds, atSeconds: clock.nowSeconds() },
        random,
      );
      return {
        caChain: [certificate, ...authority.chain.map(({ der }) => der)],
        upstreamRoots: authority.roots.map(({ der }) => ({ certificate: der, tainted: false })),
        version: versionOf(authority),
      };
    } catch (error) {
      throw new StatusError(
        StatusCode.INTERNAL,
        `UpstreamAuthority "disk": unable to sign CSR: ${errorText(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  /** Files that do not fit, perhaps because they are being replaced just now, leave the last authority in place. */
  async #reload(): Promise<void> {
    try {
      const content = await contentDigest(this.#config);
      if (content !== this.#readFrom) {
        this.#authority = await load(this.#config, this.#parts.clock);
        // Files that changed while they were read are read again next time.
        if ((await contentDigest(this.#config)) === content) this.#readFrom = content;
      }
      this.#problem = undefined;
    } catch (error) {
      const problem = errorText(error);
      if (problem === this.#problem) return;
      this.#problem = problem;
      this.#parts.log.warn("Failed to reload the upstream CA; keeping the previous one", {
        error: problem,
      });
    }
  }
}

async function load(config: AuthorityFiles, clock: Clock): Promise<Authority> {
  return checkAuthority(await loadAuthority(config), clock.nowSeconds());
}

function versionOf({ certificate, chain, roots }: Authority): string {
  const hash = createHash("sha256");
  for (const { der } of [certificate, ...chain, ...roots]) hash.update(der);
  return hash.digest("hex");
}
