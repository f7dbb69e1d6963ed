/**
 * SHA-256 of executables, by version of the file. A user may have as many and as large ones as he likes: only so much is read at a time,
 * users take turns, each file is read once however many ask for it, and no longer than somebody waits.
 */
import type { Clock } from "#clock/clock.ts";
import { FairQueue } from "#clock/fair-queue.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Executable } from "./executable.ts";
import { Hashing, noProgress, type Progress } from "./hashing.ts";

const MAX_REMEMBERED = 1000;
/** Executables that were left half read, as their callers waited no longer; who comes again goes on where they were. */
const MAX_HALF_READ = 16;
/** Executables that are read at the same time; of one user one, and the others wait. */
const LIMITS = { running: 2, runningPerKey: 1, waiting: 8192, waitingPerKey: 64 };
/** A file that was changed this short a time ago may change again without another time to show for it: a clock tick is up to 10 ms. */
const SETTLED_MS = 2000;

export interface DigestQuestion {
  /** May be closed once the question is put. */
  readonly executable: Executable;
  /** The user on whose account it is read. */
  readonly account: number;
  /** Whether the version says all: then the digest is kept. */
  readonly isKept: boolean;
}

/** How long a read may take after nobody waits for it; of a file system that takes longer nothing more is read meanwhile. */
const LONGEST_READ_MS = 1000;

interface Job {
  readonly hashing: Hashing;
  /** The users on whose account it is read, until it ends. */
  readonly sponsors: Set<number>;
  readonly abandon: AbortController;
  waiting: number;
}

export class ExecutableDigests {
  readonly #clock: Clock;
  readonly #known: Map<string, string> = new Map();
  readonly #halfRead: Map<string, Progress> = new Map();
  readonly #jobs: Map<string, Job> = new Map();
  readonly #queue: FairQueue<number> = new FairQueue(LIMITS);
  /** Reads that nobody waits for any more, but which have not come back: each keeps a thread. */
  readonly #leftBehind: Set<{ readonly device: string; readonly sinceMs: number }> = new Set();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The digest, where it was kept. */
  known({ status }: Executable): string | undefined {
    return this.#known.get(status.version);
  }

  /**
   * Reads it, unless that is known or under way.
   *
   * @returns lowercase hex
   * @throws QueueFullError, StatusError when the file changed meanwhile or cannot be read, or the signal's reason
   */
  async of(question: DigestQuestion, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const { version } = question.executable.status;
    const known = question.isKept ? this.#known.get(version) : undefined;
    if (known !== undefined) return known;
    const job = this.#jobs.get(version) ?? this.#begin(question);
    this.#sponsor(job, question.account);
    const { promise, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    job.waiting++;
    try {
      return await Promise.race([job.hashing.digest, promise]);
    } finally {
      signal.removeEventListener("abort", leave);
      job.waiting--;
      if (job.waiting === 0) job.abandon.abort(new Error("nobody waits for it any more"));
    }
  }

  #begin({ executable, isKept }: DigestQuestion): Job {
    const { version, changedMs, device } = executable.status;
    this.#checkAnswering(device);
    const isTelling = isKept && Math.abs(this.#clock.nowMs() - changedMs) > SETTLED_MS;
    const progress = (isTelling ? this.#halfRead.get(version) : undefined) ?? noProgress();
    this.#halfRead.delete(version);
    const abandon = new AbortController();
    abandon.signal.addEventListener("abort", () => {
      this.#forget(job, version);
      if (hashing.isOver) return;
      this.#leaveBehind(hashing, device);
      if (isTelling && progress.position > 0)
        keep(this.#halfRead, version, progress, MAX_HALF_READ);
    });
    const shared = executable.share();
    const hashing = new Hashing(shared, progress, abandon.signal, this.#clock);
    const job: Job = { hashing, sponsors: new Set(), abandon, waiting: 0 };
    this.#jobs.set(version, job);
    const end = (digest?: string): void => {
      this.#forget(job, version);
      shared.close();
      if (digest !== undefined && isTelling) keep(this.#known, version, digest, MAX_REMEMBERED);
    };
    hashing.digest.then(end, () => end());
    return job;
  }

  #forget(job: Job, version: string): void {
    if (this.#jobs.get(version) === job) this.#jobs.delete(version);
  }

  /** Each user who asks gives the job his own turns: one with a long line cannot hold up another who wants the same. */
  #sponsor(job: Job, account: number): void {
    if (job.sponsors.has(account)) return;
    job.sponsors.add(account);
    const { hashing, sponsors, abandon } = job;
    const work = this.#queue.run(account, abandon.signal, async (turn) => {
      while (!hashing.isOver) {
        await hashing.readOn();
        await turn.pass();
      }
    });
    work.catch((error: unknown) => {
      sponsors.delete(account);
      if (sponsors.size === 0) hashing.fail(error);
    });
  }

  #leaveBehind(hashing: Hashing, device: string): void {
    const read = { device, sinceMs: this.#clock.monotonicMs() };
    this.#leftBehind.add(read);
    void hashing.settled().then(() => this.#leftBehind.delete(read));
  }

  /** @throws StatusError when a read from that device hangs: a server of files that is gone, mostly */
  #checkAnswering(device: string): void {
    const since = this.#clock.monotonicMs() - LONGEST_READ_MS;
    const hangs = [...this.#leftBehind].some(
      (read) => read.device === device && read.sinceMs < since,
    );
    if (!hangs) return;
    throw new StatusError(StatusCode.UNAVAILABLE, "its file system does not answer at present");
  }
}

/** Of so many at most: the oldest goes first. */
function keep<T>(all: Map<string, T>, key: string, value: T, limit: number): void {
  const [oldest] = all.keys();
  if (all.size >= limit && oldest !== undefined) all.delete(oldest);
  all.set(key, value);
}
