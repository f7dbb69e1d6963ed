/**
 * What the Workload API gives this process, kept up to date: its X509-SVIDs, JWT bundles, and JWT-SVIDs for the asking. Goes on with what
 * it has while the agent is away.
 */
import { type AgentConnection, connectAgent } from "#agent/workload-client/connection.ts";
import { parseSvids, type WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import { failureText } from "#cli/rpc-error.ts";
import { Backoff } from "#clock/backoff.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import type { SvidFilesConfig } from "./config.ts";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const CALL_TIMEOUT_MS = 30_000;

export interface SourceTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class WorkloadSource {
  /** Undefined until the agent has answered. */
  svids: readonly WorkloadSvid[] | undefined;
  /** JWK sets by SPIFFE ID of the trust domain; undefined until the agent has answered. */
  jwtBundles: Readonly<Record<string, Uint8Array>> | undefined;
  /** Why there is nothing new; empty while all is well. */
  problem = "";
  readonly #tools: SourceTools;
  readonly #streams: AgentConnection;
  readonly #calls: AgentConnection;
  readonly #changed: () => void;
  readonly #stopping = new AbortController();

  /** @param changed called whenever there is something new */
  constructor(
    { socketPath, socketOwner }: Pick<SvidFilesConfig, "socketPath" | "socketOwner">,
    tools: SourceTools,
    changed: () => void,
  ) {
    this.#tools = tools;
    this.#changed = changed;
    this.#streams = connectAgent(socketPath, undefined, socketOwner);
    this.#calls = connectAgent(socketPath, CALL_TIMEOUT_MS, socketOwner);
  }

  /** Begins to follow the agent, which need not be there yet. */
  start(withJwtBundles: boolean): void {
    const { stream } = this.#streams.workload;
    const { clock } = this.#tools;
    void this.#follow("X509-SVIDs", async (received) => {
      const answers = stream((client, ...rest) => client.fetchX509Svid({}, ...rest));
      for await (const answer of answers) {
        this.svids = parseSvids(answer, clock.nowSeconds());
        received();
      }
    });
    if (!withJwtBundles) return;
    void this.#follow("JWT bundles", async (received) => {
      const answers = stream((client, ...rest) => client.fetchJwtBundles({}, ...rest));
      for await (const { bundles } of answers) {
        this.jwtBundles = bundles;
        received();
      }
    });
  }

  /** A JWT-SVID of that very SVID. @throws StatusError or Error */
  async jwtSvid({ id, hint }: WorkloadSvid, audience: readonly string[]): Promise<string> {
    const request = { audience: [...audience], spiffeId: id.toString() };
    const { svids } = await this.#calls.workload.call("fetchJwtsvid", request);
    const svid = svids.find((one) => one.hint === hint) ?? svids[0];
    if (svid === undefined) throw new Error("the agent gave no JWT-SVID");
    return svid.svid;
  }

  stop(): void {
    this.#stopping.abort();
    this.#streams.close();
    this.#calls.close();
  }

  /** @param read reads one stream to its end, and tells of each message that it took */
  async #follow(what: string, read: (received: () => void) => Promise<void>): Promise<void> {
    const { clock, random, log } = this.#tools;
    const { signal } = this.#stopping;
    const backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, random);
    let told = "";
    while (!signal.aborted) {
      const received = (): void => {
        if (told !== "") log.info(`The agent gives ${what} again`);
        told = "";
        this.problem = "";
        backoff.reset();
        this.#changed();
      };
      const problem = await read(received).then(() => "the agent ended the stream", failureText);
      if (signal.aborted) return;
      // An agent that is started anew ends all streams; it is told of once.
      if (problem !== told) log.warn(`The agent gives no ${what}`, { error: problem });
      told = problem;
      this.problem = problem;
      this.#changed();
      await clock.sleep(backoff.nextMs(), signal);
    }
  }
}
