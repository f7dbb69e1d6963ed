/**
 * The server's own directory of declared entries (`entries_dir`), looked at from the start of the server to its end. What is wrong with it
 * never stops the server: the entries stay as they were, and the log says why.
 */

import type { Clock } from "#clock/clock.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { ownerRules } from "#files/obeyed.ts";
import type { Log } from "#log/log.ts";
import type { DataStore, DataStoreChange } from "#server/datastore/datastore.ts";
import { codeOf } from "#server/message/failure.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { auditFields, summaryFields } from "./audit-fields.ts";
import { changeMessage } from "./change-message.ts";
import { listFiles } from "./list-files.ts";
import type { DirectoryContent } from "./read-directory.ts";
import { readInWorker } from "./read-in-worker.ts";
import type { MadeChange, Plan, Reconciler } from "./reconcile.ts";
import { DirectoryWatch } from "./watch-directory.ts";

/** The set that the directory's entries are in. */
const DIRECTORY_SET = "entries_dir";

/** The longest that the server's start waits for the entries, and its stop for a reading in progress. */
const FIRST_LOOK_MS = 30_000;
const STOP_GRACE_MS = 5000;
/** How often the files are looked at, where nothing tells that they changed. */
const LOOK_MS = 10_000;
/** How often everything is compared, though nothing seems to have changed. */
const COMPARE_MS = 5 * 60_000;
/** For so long nothing may change before what is there is read: who writes a file does not do it at one stroke. */
const SETTLE_MS = 200;
const MAX_SETTLES = 50;
/** Between two looks, where something happens in the directory all the time. */
const PAUSE_MS = 50;
/** After a failure that may pass by itself, so many times as long as the attempt took is waited. */
const REST_FACTOR = 20;

export interface DirectoryKeeperParts {
  readonly directory: string;
  readonly reconciler: Reconciler;
  readonly store: Pick<DataStore, "declaredEntries" | "onChange">;
  /** As the configuration has it at this moment. */
  readonly auditLogEnabled: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export class DirectoryKeeper {
  readonly #parts: DirectoryKeeperParts;
  readonly #wakeup: Wakeup;
  readonly #watch: DirectoryWatch;
  readonly #stopping: AbortController = new AbortController();
  readonly #unsubscribe: () => void;
  #loop: Promise<void> = Promise.resolve();
  #waiting: (() => void)[] = [];
  /** What the directory looked like when it was last read; undefined before. */
  #mark: string | undefined;
  /** Set by whatever makes it worth comparing though the directory looks the same. */
  #forced = true;
  #compareAtMs = 0;
  #isApplying = false;
  #wakeIsDue = false;
  /** What was last complained of; undefined when all was well. */
  #failure: string | undefined;
  #ours: ReadonlySet<string> = new Set();
  #changed: () => void = () => {};

  private constructor(parts: DirectoryKeeperParts) {
    this.#parts = parts;
    this.#wakeup = new Wakeup(parts.clock);
    this.#watch = new DirectoryWatch(parts.directory, () => this.#wakeup.wake());
    this.#unsubscribe = parts.store.onChange((change) => this.#notice(change));
  }

  /** Resolves when the directory was looked at for the first time, whatever came of it; one that takes long, or hangs, is not waited for. */
  static async start(parts: DirectoryKeeperParts): Promise<DirectoryKeeper> {
    const keeper = new DirectoryKeeper(parts);
    const looked = new AbortController();
    const first = keeper.#look().finally(() => looked.abort());
    keeper.#loop = first.then(() => keeper.#run());
    await parts.clock.sleep(FIRST_LOOK_MS, looked.signal);
    return keeper;
  }

  /** Why the entries are not as the files say; undefined when they are. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** @param changed called when `failure` is another */
  whenChanged(changed: () => void): void {
    this.#changed = changed;
  }

  /** Looks at everything now. Resolves when that is done, whatever came of it. */
  async reload(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    this.#forced = true;
    this.#wakeup.wake();
    await promise;
  }

  /** Stops between two groups of changes. Resolves when none is under way any more; a disk that hangs is not waited for. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#unsubscribe();
    this.#watch.close();
    const ended = new AbortController();
    void this.#loop.finally(() => ended.abort());
    await this.#parts.clock.sleep(STOP_GRACE_MS, ended.signal);
    for (const done of this.#waiting) done();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    for (;;) {
      await this.#wakeup.wait(LOOK_MS, signal);
      if (signal.aborted) return;
      const waiting = this.#waiting;
      this.#waiting = [];
      await this.#look();
      for (const done of waiting) done();
      await this.#parts.clock.sleep(PAUSE_MS, signal);
    }
  }

  async #look(): Promise<void> {
    await this.#watch.renew();
    const mark = await this.#settledMark();
    const isDue = this.#forced || this.#parts.clock.monotonicMs() >= this.#compareAtMs;
    if (this.#stopping.signal.aborted || (mark === this.#mark && !isDue)) return;
    this.#forced = false;
    await this.#reconcile(mark);
  }

  /** What the directory looks like, once that stays the same for a moment. */
  async #settledMark(): Promise<string> {
    const { directory, clock } = this.#parts;
    const look = (): Promise<string> =>
      listFiles(directory, ownerRules()).then(
        ({ fingerprint }) => fingerprint,
        (error: unknown) => `error: ${errorText(error)}`,
      );
    let mark = await look();
    for (let settles = 0; settles < MAX_SETTLES && mark !== this.#mark; settles++) {
      await clock.sleep(SETTLE_MS, this.#stopping.signal);
      const before = mark;
      mark = await look();
      if (mark === before) break;
    }
    return mark;
  }

  async #reconcile(mark: string): Promise<void> {
    const { directory, clock } = this.#parts;
    const startedMs = clock.monotonicMs();
    const isSame = mark === this.#mark;
    let restMs = COMPARE_MS;
    this.#mark = mark;
    try {
      const content = await readInWorker(directory, clock);
      this.#mark = content.fingerprint;
      if (!isSame) for (const warning of content.warnings) this.#parts.log.warn(warning);
      restMs = Math.max(LOOK_MS, REST_FACTOR * (clock.monotonicMs() - startedMs));
      const plan = await this.#apply(content);
      restMs = COMPARE_MS;
      this.#report(plan, isSame);
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#complain(error);
    }
    this.#compareAtMs = clock.monotonicMs() + restMs;
  }

  async #apply({ declared }: DirectoryContent): Promise<Plan> {
    const { reconciler, store } = this.#parts;
    const declaration = { set: DIRECTORY_SET, declared, adopt: false, allowRemoval: false };
    this.#isApplying = true;
    try {
      return await reconciler.apply(declaration, (changes) => this.#made(changes));
    } finally {
      this.#isApplying = false;
      const sets = await store.declaredEntries.sets();
      this.#ours = new Set([...sets].flatMap(([id, set]) => (set === DIRECTORY_SET ? [id] : [])));
    }
  }

  /** What was made is made; the rest waits for the next start when the server stops. */
  #made(changes: readonly MadeChange[]): void {
    const { auditLogEnabled, log } = this.#parts;
    if (auditLogEnabled()) {
      for (const { change, entryId } of changes) {
        log.info("Declared entry changed", {
          ...auditFields(DIRECTORY_SET, change.kind, changeMessage(change, entryId)),
          type: "audit",
          status: "success",
        });
      }
    }
    if (this.#stopping.signal.aborted) {
      throw new StatusError(StatusCode.UNAVAILABLE, "the server is stopping");
    }
  }

  #report(plan: Plan, isSame: boolean): void {
    const { log, directory } = this.#parts;
    const fields = { directory, ...summaryFields(DIRECTORY_SET, plan) };
    const hadFailed = this.#failure !== undefined;
    this.#failure = undefined;
    if (hadFailed) this.#changed();
    if (plan.changes.length === 0 && !hadFailed) {
      log.debug("Declared entries match the files", fields);
    } else if (isSame && !hadFailed) {
      log.warn("Declared entries had been changed by hand; restored them from the files", fields);
    } else {
      log.info("Declared entries match the files", fields);
    }
  }

  #complain(error: unknown): void {
    const { log, directory } = this.#parts;
    const text = errorText(error);
    if (text === this.#failure) return;
    this.#failure = text;
    this.#changed();
    const wantsOperator = codeOf(error) === StatusCode.FAILED_PRECONDITION;
    log.error("Could not apply the declared entries; the present ones stay in place", {
      directory,
      error: text,
      ...(wantsOperator && {
        hint: `to agree to it, once: spire-server entry apply -set ${DIRECTORY_SET} [-adopt] [-allowRemoval] ${directory}`,
      }),
    });
  }

  /** Somebody changed an entry of ours; or what was in the way may be gone. */
  #notice({ entries, bundles }: DataStoreChange): void {
    if (this.#isApplying) return;
    const isOurs =
      entries.removed.some((id) => this.#ours.has(id)) ||
      entries.stored.some(({ id }) => this.#ours.has(id));
    const mayHelp =
      this.#failure !== undefined && (bundles.length > 0 || entries.removed.length > 0);
    if (!isOurs && !mayHelp) return;
    this.#forced = true;
    if (this.#wakeIsDue) return;
    this.#wakeIsDue = true;
    this.#parts.clock.after(SETTLE_MS, () => {
      this.#wakeIsDue = false;
      this.#wakeup.wake();
    });
  }
}
