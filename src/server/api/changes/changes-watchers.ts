/**
 * The agents that wait for changes. A change costs as much as there are agents it touches, and however many these are, they are
 * told a few milliseconds' worth at a time, so that nobody else waits for it.
 */
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import { hasGoodSerial } from "#server/api/agent/agent-standing.ts";
import type { AttestedNode, Changed } from "#server/datastore/datastore.ts";
import type { EntryRegistry } from "#server/entries/registry.ts";
import type { Touched } from "#server/entries/touched-agents.ts";
import { entryMessage } from "#server/message/convert-entry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type EntryMessageFor, Watch, type WatchingAgent } from "./changes-watch.ts";

/** How long watchers are told in one turn of the event loop. */
const TURN_MS = 5;
/** An agent has one; a second while its SVID is renewed, or when the server has not noticed yet that a connection is dead. */
const MAX_WATCHES_PER_AGENT = 4;
/** A little less than a connection lives (180 seconds), so that a watch does not hold up a connection that is to end. */
const MAX_AGE_MS = 150_000;
/** So that agents that came at once do not come back at once. */
const AGE_JITTER = 0.1;

export interface WatchersParts {
  readonly registry: Pick<EntryRegistry, "authorizedEntry" | "onChange" | "onTouched">;
  readonly clock: Clock;
  readonly random: Random;
}

export class Watchers {
  readonly #parts: WatchersParts;
  /** The oldest first. */
  readonly #byAgent: Map<string, Set<Watch>> = new Map();
  /** Those that have something to hear and can take it. */
  readonly #ready: Set<Watch> = new Set();
  #turnIsDue = false;
  #closed = false;
  #unsubscribe: () => void = () => undefined;

  constructor(parts: WatchersParts) {
    this.#parts = parts;
  }

  /**
   * Notes every change for the agent from now on. Nothing is sent before the watch is started.
   *
   * @param send resolves when the agent has taken the message
   * @throws StatusError UNAVAILABLE when the server stops
   */
  open(agent: WatchingAgent, send: (change: Change) => Promise<void>): Watch {
    if (this.#closed) throw new StatusError(StatusCode.UNAVAILABLE, "the server is stopping");
    if (this.#byAgent.size === 0) this.#subscribe();
    const watches = this.#byAgent.get(agent.id) ?? new Set<Watch>();
    this.#byAgent.set(agent.id, watches);
    const watch = new Watch({
      agent,
      send,
      ready: (ready) => this.#wake(ready),
      ended: (ended) => this.#forget(ended),
    });
    watches.add(watch);
    const [oldest] = watches;
    if (watches.size > MAX_WATCHES_PER_AGENT) oldest?.end();
    watch.endAfter(this.#lifetimeMs(agent), this.#parts.clock);
    return watch;
  }

  /** Ends all watches, and lets no more begin. */
  close(): void {
    this.#closed = true;
    for (const watches of [...this.#byAgent.values()]) for (const watch of watches) watch.end();
  }

  #lifetimeMs({ notAfter }: WatchingAgent): number {
    const { clock, random } = this.#parts;
    const age = MAX_AGE_MS * (1 + AGE_JITTER * (2 * random.fraction() - 1));
    return Math.min(age, notAfter * 1000 - clock.nowMs());
  }

  #subscribe(): void {
    const { registry } = this.#parts;
    const subscriptions = [
      registry.onTouched((touched) => this.#noteTouched(touched)),
      registry.onChange(({ nodes, bundles }) => {
        this.#endUnwelcome(nodes);
        if (bundles.length > 0) this.#noteBundles(bundles);
      }),
    ];
    this.#unsubscribe = () => {
      for (const end of subscriptions) end();
    };
  }

  #forget(watch: Watch): void {
    this.#ready.delete(watch);
    const watches = this.#byAgent.get(watch.agent.id);
    watches?.delete(watch);
    if (watches?.size === 0) this.#byAgent.delete(watch.agent.id);
    if (this.#byAgent.size === 0) this.#unsubscribe();
  }

  #noteTouched({ entries, everything }: Touched): void {
    for (const agentId of everything) {
      for (const watch of this.#of(agentId)) watch.note((pending) => pending.addEverything());
    }
    for (const [agentIds, entryIds] of entries) {
      for (const agentId of agentIds) {
        for (const watch of this.#of(agentId)) {
          watch.note((pending) => pending.addEntries(entryIds));
        }
      }
    }
  }

  #noteBundles(names: readonly string[]): void {
    for (const watches of this.#byAgent.values()) {
      for (const watch of watches) watch.note((pending) => pending.addBundles(names));
    }
  }

  /** Banned, evicted, or with another SVID by now: when such an agent opens a new watch, the guard says what is wrong. */
  #endUnwelcome({ stored, removed }: Changed<AttestedNode>): void {
    for (const agentId of removed) for (const watch of this.#of(agentId)) watch.end();
    for (const node of stored) {
      for (const watch of this.#of(node.spiffeId)) {
        if (!hasGoodSerial(node, watch.agent.serialNumber)) watch.end();
      }
    }
  }

  #of(agentId: string): Iterable<Watch> {
    return this.#byAgent.get(agentId) ?? [];
  }

  #wake(watch: Watch): void {
    this.#ready.add(watch);
    if (this.#turnIsDue) return;
    this.#turnIsDue = true;
    // The turn begins here: to wake ten thousand watchers takes its time, too.
    const end = this.#parts.clock.monotonicMs() + TURN_MS;
    queueMicrotask(() => this.#turn(end));
  }

  #turn(end: number): void {
    const { clock } = this.#parts;
    const messageFor = this.#entryMessages();
    for (const watch of this.#ready) {
      this.#ready.delete(watch);
      void watch.tell(messageFor);
      if (clock.monotonicMs() >= end) break;
    }
    this.#turnIsDue = this.#ready.size > 0;
    if (this.#turnIsDue) clock.after(0, () => this.#turn(clock.monotonicMs() + TURN_MS));
  }

  /** Looks up what an agent is to hear of an entry; what many agents hear is made once. */
  #entryMessages(): EntryMessageFor {
    const made = new Map<RegistrationEntry, Entry>();
    return (agentId, entryId) => {
      const entry = this.#parts.registry.authorizedEntry(agentId, entryId);
      if (entry === undefined) return undefined;
      const message = made.get(entry) ?? entryMessage(entry, undefined);
      made.set(entry, message);
      return message;
    };
  }
}
