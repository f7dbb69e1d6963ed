/** The JWT-SVIDs of an output: fetched, and fetched anew when half of what was left of them is over. */
import type { WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import { failureText } from "#cli/rpc-error.ts";
import { parseJwtSvidUnverified } from "#jwt/claims.ts";
import type { JwtSvidFile } from "./config-files.ts";
import type { SourceTools, WorkloadSource } from "./workload-source.ts";

const RETRY_SECONDS = 5;

interface Held {
  readonly token: string;
  /** Of the SVID it goes with. */
  readonly owner: string;
  /** Unix seconds. */
  readonly renewAt: number;
}

export class JwtSvidFiles {
  readonly #files: readonly JwtSvidFile[];
  readonly #source: Pick<WorkloadSource, "jwtSvid">;
  readonly #tools: SourceTools;
  readonly #held: Map<string, Held> = new Map();

  constructor(
    files: readonly JwtSvidFile[],
    source: Pick<WorkloadSource, "jwtSvid">,
    tools: SourceTools,
  ) {
    this.#files = files;
    this.#source = source;
    this.#tools = tools;
  }

  /**
   * Fetches those that are due; what cannot be had stays as it was.
   *
   * @returns seconds until some are due again; Infinity without any
   */
  async refresh(svid: WorkloadSvid): Promise<number> {
    const waits = await Promise.all(this.#files.map((file) => this.#refreshOne(file, svid)));
    return Math.min(...waits);
  }

  /** By name of the file; undefined while one of them is missing. */
  tokens({ id }: WorkloadSvid): ReadonlyMap<string, string> | undefined {
    const tokens = new Map<string, string>();
    for (const { name } of this.#files) {
      const held = this.#held.get(name);
      if (held?.owner !== id.toString()) return undefined;
      tokens.set(name, held.token);
    }
    return tokens;
  }

  async #refreshOne({ name, audience }: JwtSvidFile, svid: WorkloadSvid): Promise<number> {
    const { clock, log } = this.#tools;
    const owner = svid.id.toString();
    const held = this.#held.get(name);
    const now = clock.nowSeconds();
    if (held?.owner === owner && held.renewAt > now) return held.renewAt - now;
    try {
      const token = await this.#source.jwtSvid(svid, audience);
      // Not verified: it comes from the agent, and this process does not act on it.
      const { expiresAt } = parseJwtSvidUnverified(token);
      const wait = Math.max(RETRY_SECONDS, Math.floor((expiresAt - now) / 2));
      this.#held.set(name, { token, owner, renewAt: now + wait });
      return wait;
    } catch (error) {
      log.warn("Unable to fetch a JWT-SVID", { file: name, error: failureText(error) });
      return RETRY_SECONDS;
    }
  }
}
