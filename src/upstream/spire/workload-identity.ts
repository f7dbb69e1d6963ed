/** This server as a workload of a local agent: its X509-SVID and the bundle, kept up to date through the Workload API. */
import { Metadata } from "@grpc/grpc-js";
import { Backoff } from "#clock/backoff.ts";
import { readStream, unixChannel } from "#grpc/client.ts";
import { SpiffeWorkloadAPIClient } from "#proto/spiffe/workload/workload.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { UpstreamParts } from "#upstream/upstream-authority.ts";
import { type WorkloadSvid, workloadSvidFrom } from "./workload-svid.ts";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 10_000;

export class WorkloadIdentity {
  readonly #socket: string;
  readonly #parts: UpstreamParts;
  readonly #closing = new AbortController();
  /** Aborted and replaced whenever there is something new. */
  #changed = new AbortController();
  #current: WorkloadSvid | undefined;
  #problem = "it has not answered yet";

  /** Starts to follow the Workload API at once. @param socket its path */
  constructor(socket: string, parts: UpstreamParts) {
    this.#socket = socket;
    this.#parts = parts;
    void this.#follow();
  }

  /**
   * The newest SVID; the first one is waited for.
   *
   * @throws StatusError UNAVAILABLE saying why there is none
   */
  async svid(timeoutMs: number): Promise<WorkloadSvid> {
    if (this.#current === undefined) await this.#parts.clock.sleep(timeoutMs, this.#changed.signal);
    if (this.#current !== undefined) return this.#current;
    throw new StatusError(
      StatusCode.UNAVAILABLE,
      `no X509-SVID for this server from the Workload API at ${this.#socket}: ${this.#problem}`,
    );
  }

  close(): void {
    this.#closing.abort();
    this.#tell();
  }

  async #follow(): Promise<void> {
    const { clock, random, log } = this.#parts;
    const { address, credentials, options } = unixChannel(this.#socket);
    const client = new SpiffeWorkloadAPIClient(address, credentials, options);
    const backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, random);
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#read(client, backoff);
        this.#problem = "it ended the stream";
      } catch (error) {
        const problem = errorText(error);
        if (!signal.aborted && problem !== this.#problem)
          log.warn("The Workload API gives this server no X509-SVID", { error: problem });
        this.#problem = problem;
      }
      await clock.sleep(backoff.nextMs(), signal);
    }
    client.close();
  }

  /** Until the stream ends. */
  async #read(client: SpiffeWorkloadAPIClient, backoff: Backoff): Promise<void> {
    const { trustDomain, clock, log } = this.#parts;
    const metadata = new Metadata();
    // SPIFFE Workload API §4.3: every request carries this, so that no browser or proxy can be talked into making one.
    metadata.set("workload.spiffe.io", "true");
    const answers = readStream(client.fetchX509Svid({}, metadata), this.#closing.signal);
    for await (const answer of answers) {
      const svid = workloadSvidFrom(answer, trustDomain, clock.nowSeconds());
      log.debug("X509-SVID for the upstream server received", { spiffe_id: svid.id.toString() });
      this.#current = svid;
      this.#problem = "";
      backoff.reset();
      this.#tell();
    }
  }

  #tell(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}
