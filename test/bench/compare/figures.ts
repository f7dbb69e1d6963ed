/** What is compared, in the order of the table. */

export interface Figure {
  readonly name: string;
  readonly what: string;
  readonly unit: string;
  /** Ours divided by the reference's must be at least (`min`) or at most (`max`) this. */
  readonly aim?: { readonly min: number } | { readonly max: number };
  /** What ours is divided by in place of the reference's. */
  readonly bound?: number;
}

const rate = (name: string, what: string, min: number): Figure => ({
  name,
  what,
  unit: "1/s",
  aim: { min },
});
const cost = (name: string, what: string, unit: string, max: number): Figure => ({
  name,
  what,
  unit,
  aim: { max },
});

/** Without an aim. */
const figure = (name: string, what: string, unit: string): Figure => ({ name, what, unit });

export const FIGURES: readonly Figure[] = [
  rate("batch50", "BatchNewX509SVID, 50 requests a call: SVIDs", 2),
  rate("batch500", "BatchNewX509SVID, 500 requests a call: SVIDs", 2),
  cost("batchCpu", "… processor time of 1,000 SVIDs", "s", 0.4),
  rate("mintX509", "MintX509SVID, 32 at once: calls", 1.2),
  rate("newJwt", "NewJWTSVID, 32 at once: calls", 1.2),
  rate("mintJwt", "MintJWTSVID, 32 at once: calls", 1.2),
  rate("attest", "AttestAgent by join tokens, each on its own connection: agents", 1.5),
  figure("attestCpu", "… processor time of an agent", "s"),
  rate("authorized", "GetAuthorizedEntries of 1,000 entries: calls", 1.5),
  rate("sync", "SyncAuthorizedEntries of 1,000 entries, none changed: calls", 1.5),
  rate("create", "BatchCreateEntry: entries", 20),
  cost("agentFill", "agent start until 10,000 SVIDs are cached", "s", 0.6),
  cost("fetchP50", "FetchX509SVID on a new connection, 32 at once: median", "ms", 0.8),
  cost("fetchP99", "… 99th percentile", "ms", 0.8),
  rate("fetchJwt", "FetchJWTSVID from the cache, 32 at once: calls", 1.2),
  rate("pathX509", "FetchX509SVID with the workload's path and hash: calls", 20),
  rate("pathJwt", "FetchJWTSVID with the workload's path and hash: calls", 20),
  cost("propagation", "entry created until a waiting workload has the SVID: median", "ms", 0.01),
  cost("serverFirstStart", "server: first start until its API answers", "ms", 0.5),
  cost("serverStart", "… start with the data of the last run", "ms", 0.5),
  cost(
    "agentFirstStart",
    "agent: first start, with a join token, until its API answers",
    "ms",
    0.5,
  ),
  cost("agentStart", "… start with the SVID of the last run", "ms", 0.5),
  cost("serverMemory", "server, idle: resident memory", "MB", 0.7),
  figure("serverAnonymous", "… of that, what is not a page of a file", "MB"),
  cost("agentMemory", "agent, idle: resident memory", "MB", 0.8),
  figure("agentAnonymous", "… of that, what is not a page of a file", "MB"),
  cost("serverMemoryMany", "server, 100,000 entries: resident memory", "MB", 0.7),
  cost("agentMemoryStreams", "agent, 1,000 open streams: resident memory", "MB", 0.8),
  cost("serverIdle", "server: processor time of an idle minute", "s", 1),
  cost("agentIdle", "agent: processor time of an idle minute", "s", 1),
  cost("serverSize", "spire-server: size of the executable", "MB", 0.6),
  cost("agentSize", "spire-agent: size of the executable", "MB", 1),
  figure("stall", "server under full load: longest wait for an answer to /live", "ms"),
  {
    ...cost("stall", "… divided by 20 ms, the longest that the event loop may stall", "ms", 1),
    bound: 20,
  },
];

/** Figures of one implementation in one round, by name. */
export type Measured = Map<string, number>;
