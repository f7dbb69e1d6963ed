import type { Clock, Timer } from "#clock/clock.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import { type Pending, PendingChanges } from "./changes-pending.ts";

/** Who watches, by which certificate. */
export interface WatchingAgent {
  readonly id: string;
  /** Decimal. */
  readonly serialNumber: string;
  /** Unix seconds. */
  readonly notAfter: number;
}

export interface WatchParts {
  readonly agent: WatchingAgent;
  /** Resolves when the agent has taken the message. */
  readonly send: (change: Change) => Promise<void>;
  /** Called when there is something to tell and the agent can take it. */
  readonly ready: (watch: Watch) => void;
  readonly ended: (watch: Watch) => void;
}

/** An entry as it is now, or undefined when the agent is not authorized for it. */
export type EntryMessageFor = (agentId: string, entryId: string) => Entry | undefined;

/** One open stream of changes. What happens while the agent is busy with one message goes into the next. */
export class Watch {
  readonly agent: WatchingAgent;
  readonly #parts: WatchParts;
  readonly #pending: PendingChanges = new PendingChanges();
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers();
  #state: "opening" | "waiting" | "sending" | "ended" = "opening";
  #expiry: Timer | undefined;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.agent = parts.agent;
  }

  /** Resolves when the stream is to end; rejects with what a message could not be sent for. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Begins to send: first, that everything may have changed. */
  start(): void {
    if (this.#state !== "opening") return;
    this.#state = "waiting";
    this.note((pending) => pending.addEverything());
  }

  note(add: (pending: PendingChanges) => void): void {
    add(this.#pending);
    this.#readyIfSo();
  }

  /** Sends what is pending. */
  async tell(messageFor: EntryMessageFor): Promise<void> {
    if (this.#state !== "waiting") return;
    this.#state = "sending";
    try {
      await this.#parts.send(changeMessage(this.#pending.take(), this.agent.id, messageFor));
      this.#sent();
    } catch (error) {
      this.#ended.reject(error);
      this.end();
    }
  }

  endAfter(milliseconds: number, clock: Clock): void {
    this.#expiry = clock.after(milliseconds, () => this.end());
  }

  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#expiry?.cancel();
    this.#ended.resolve();
    this.#parts.ended(this);
  }

  #sent(): void {
    if (this.#state !== "sending") return;
    this.#state = "waiting";
    this.#readyIfSo();
  }

  #readyIfSo(): void {
    if (this.#state === "waiting" && !this.#pending.isEmpty) this.#parts.ready(this);
  }
}

/** What became of an entry is looked up when it is told: whatever happened to it meanwhile, the agent hears how it is now. */
function changeMessage(
  { everything, entryIds, bundles }: Pending,
  agentId: string,
  messageFor: EntryMessageFor,
): Change {
  const change: Change = {
    storedEntries: [],
    removedEntryIds: [],
    changedBundles: [...bundles],
    everything,
  };
  for (const id of entryIds) {
    const entry = messageFor(agentId, id);
    if (entry === undefined) change.removedEntryIds.push(id);
    else change.storedEntries.push(entry);
  }
  return change;
}
