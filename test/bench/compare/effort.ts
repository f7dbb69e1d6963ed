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
  readonly idleSeconds: number;
  /** Entries whose way to a waiting workload is timed. */
  readonly propagated: number;
}

export const FULL: Effort = {
  rounds: 3,
  milliseconds: 5_000,
  created: 10_000,
  many: 100_000,
  filled: 10_000,
  attested: 3_000,
  streams: 1_000,
  idleSeconds: 30,
  propagated: 20,
};

export const QUICK: Effort = {
  rounds: 1,
  milliseconds: 1_000,
  created: 1_000,
  many: 0,
  filled: 1_000,
  attested: 500,
  streams: 200,
  idleSeconds: 3,
  propagated: 3,
};
