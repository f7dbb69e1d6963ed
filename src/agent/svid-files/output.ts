/** One output: its files are written when the agent gives something new, and whoever uses them is told. */

import type { WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { FileSet, type SetFile } from "#files/file-set.ts";
import { errorText } from "#spiffe/status-error.ts";
import { isoTime } from "#x509/iso-time.ts";
import { findAccounts } from "./accounts.ts";
import type { OutputConfig } from "./config.ts";
import { wantsJwtBundles } from "./config-files.ts";
import { contentsOf } from "./contents.ts";
import { JwtSvidFiles } from "./jwt-svids.ts";
import { type RenewalTools, renew } from "./renewal.ts";
import type { SourceTools, WorkloadSource } from "./workload-source.ts";

/** After a disk that was full, for instance. */
const RETRY_SECONDS = 10;

export type OutputTools = SourceTools & RenewalTools;

export class Output {
  readonly name: string;
  readonly #config: OutputConfig;
  readonly #set: FileSet;
  readonly #source: WorkloadSource;
  readonly #tools: OutputTools;
  readonly #wakeup: Wakeup;
  readonly #jwtSvids: JwtSvidFiles;
  readonly #written = Promise.withResolvers<void>();
  #current: WorkloadSvid | undefined;
  #told = "";

  /** @throws Error when the directory is not safe, or there is no such user or group */
  static async open(
    config: OutputConfig,
    source: WorkloadSource,
    tools: OutputTools,
  ): Promise<Output> {
    const set = await FileSet.open(config.directory, findAccounts(config));
    return new Output(config, set, source, tools);
  }

  private constructor(
    config: OutputConfig,
    set: FileSet,
    source: WorkloadSource,
    tools: OutputTools,
  ) {
    this.name = config.name;
    this.#config = config;
    this.#set = set;
    this.#source = source;
    this.#tools = { ...tools, log: tools.log.with({ output: config.name }) };
    this.#wakeup = new Wakeup(tools.clock);
    this.#jwtSvids = new JwtSvidFiles(config.files.jwtSvids, source, this.#tools);
  }

  /** Resolves once its files are there. */
  get written(): Promise<void> {
    return this.#written.promise;
  }

  /** The SVID that is in its files; undefined before they are written. */
  get svid(): WorkloadSvid | undefined {
    return this.#current;
  }

  /** The source has something new. */
  wake(): void {
    this.#wakeup.wake();
  }

  /** Writes until the signal aborts. @param done called after each round */
  async run(done: () => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const seconds = await this.#round();
      done();
      await this.#wakeup.wait(seconds * 1000, signal);
    }
  }

  /** @returns seconds until the next round, if nothing new comes before */
  async #round(): Promise<number> {
    const svid = this.#chosen();
    if (svid === undefined) return Number.POSITIVE_INFINITY;
    const seconds = await this.#jwtSvids.refresh(svid);
    const { files } = this.#config;
    const jwtSvids = this.#jwtSvids.tokens(svid);
    const jwtBundles = this.#source.jwtBundles ?? (wantsJwtBundles(files) ? undefined : {});
    if (jwtSvids === undefined || jwtBundles === undefined) return seconds;
    try {
      await this.#write(svid, contentsOf(files, { svid, jwtBundles, jwtSvids }));
      return seconds;
    } catch (error) {
      this.#tools.log.error("Unable to write the files", { error: errorText(error) });
      return Math.min(seconds, RETRY_SECONDS);
    }
  }

  async #write(svid: WorkloadSvid, contents: readonly SetFile[]): Promise<void> {
    const { files, renewal } = this.#config;
    // Not when this process was killed before it could tell of them.
    const wasAnnounced = await this.#set.isAnnounced();
    const different = await this.#set.replace(contents);
    this.#current = svid;
    const tokens = new Set(files.jwtSvids.map(({ name }) => name));
    // A token is read anew by whoever sends it; a service that is reloaded every few minutes for it would have no use for that.
    const hasOnlyTokens = tokens.size === contents.length;
    const isRenewed = different.some((name) => hasOnlyTokens || !tokens.has(name));
    if (isRenewed || !wasAnnounced) {
      const [{ notAfter } = { notAfter: 0 }] = svid.certificates;
      const expires = isoTime(notAfter);
      this.#tools.log.info("Files written", { spiffe_id: svid.id.toString(), expires });
      await renew(renewal, this.#tools);
    }
    await this.#set.announced();
    this.#written.resolve();
  }

  #chosen(): WorkloadSvid | undefined {
    const { svids } = this.#source;
    if (svids === undefined) return undefined;
    const { spiffeId, hint } = this.#config.choice;
    const chosen = svids.find(
      (one) =>
        (spiffeId === undefined || one.id.toString() === spiffeId) &&
        (hint === undefined || one.hint === hint),
    );
    const given = svids
      .map((one) => `${one.id}${one.hint === "" ? "" : ` (${one.hint})`}`)
      .join(", ");
    const problem = chosen === undefined ? given : "";
    if (problem !== "" && problem !== this.#told) {
      this.#tools.log.error("The agent serves no such SVID", { spiffe_id: spiffeId, hint, given });
    }
    this.#told = problem;
    return chosen;
  }
}
