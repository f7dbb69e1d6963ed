import { parseNodeAgent } from "#grpc/node-agent.ts";

export interface Sighting {
  /** Unix seconds. */
  readonly at: number;
  /** Without the port. */
  readonly address: string;
  readonly hostName: string;
  readonly attestors: readonly string[];
}

/** More agents than a server has; those that were evicted long ago are dropped in time. */
const MAX_AGENTS = 100_000;

/**
 * When and from where each agent last called, since this server was started. It is kept in memory alone: a write for each call would cost more
 * than most calls do, and an agent that is there calls within seconds of the server's start.
 */
export class Sightings {
  readonly #byAgent = new Map<string, { userAgent: string; sighting: Sighting }>();
  /** How many calls each agent has open that stay open as long as it is there. */
  readonly #standing = new Map<string, number>();

  /**
   * @param agentId of an agent that was let in as one: nobody else takes up room here
   * @param now Unix seconds
   * @param userAgent as the caller says itself
   */
  saw(agentId: string, now: number, address: string, userAgent: string): void {
    const before = this.#byAgent.get(agentId);
    const about =
      before?.userAgent === userAgent
        ? { hostName: before.sighting.hostName, attestors: before.sighting.attestors }
        : parseNodeAgent(userAgent);
    if (before === undefined && this.#byAgent.size >= MAX_AGENTS) this.#forgetOne();
    this.#byAgent.set(agentId, { userAgent, sighting: { at: now, address, ...about } });
  }

  /** Takes note of a call that stays open as long as the agent is there: until it ends, the agent is seen. @returns to be called then */
  stands(agentId: string): (now: number) => void {
    this.#standing.set(agentId, (this.#standing.get(agentId) ?? 0) + 1);
    return (now) => {
      const left = (this.#standing.get(agentId) ?? 1) - 1;
      if (left > 0) this.#standing.set(agentId, left);
      else this.#standing.delete(agentId);
      const known = this.#byAgent.get(agentId);
      if (known !== undefined) known.sighting = { ...known.sighting, at: now };
    };
  }

  /** @param now Unix seconds */
  of(agentId: string, now: number): Sighting | undefined {
    const sighting = this.#byAgent.get(agentId)?.sighting;
    return sighting !== undefined && this.#standing.has(agentId)
      ? { ...sighting, at: now }
      : sighting;
  }

  #forgetOne(): void {
    const [first] = this.#byAgent.keys();
    if (first !== undefined) this.#byAgent.delete(first);
  }
}
