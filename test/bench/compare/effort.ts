/** How long and how large a comparison is. */
export interface Effort {
  readonly rounds: number;
  /** Of each load. */
  readonly milliseconds: number;
  /** Entries created for the rate of creation. */
  readonly created: number;
  /** Entries of the large server; 0 leaves it out. */
  readonly many: number;
  /** Entries of the agent that is filled. */
  readonly filled: number;
  readonly attested: number;
  readonly streams: number;
  /** Starts whose median counts. */
  readonly starts: number;
  /** A sample of a daemon without work; 0 leaves it out: a start's last work goes on for half a minute. */
  readonly idleSeconds: number;
  /** Until a daemon that was started is quiet. */
  readonly settleMs: number;
  /** Entries whose way to a waiting workload is timed. */
  readonly propagated: number;
}

export const FULL: Effort = {
  rounds: 3,
  milliseconds: 5_000,
  created: 10_000,
  many: 100_000,
  filled: 10_000,
  attested: 6_000,
  streams: 1_000,
  starts: 5,
  idleSeconds: 30,
  settleMs: 8_000,
  propagated: 20,
};

export const QUICK: Effort = {
  rounds: 1,
  milliseconds: 1_000,
  created: 1_000,
  many: 0,
  filled: 1_000,
  attested: 2_000,
  streams: 200,
  starts: 3,
  idleSeconds: 0,
  settleMs: 3_000,
  propagated: 3,
};
