/**
 * When authorities change: the next one is prepared (and so reaches every bundle) long before it signs, and takes over while the
 * old one still has time left for what it signed.
 */
import type { Authority, Slot } from "./authority.ts";

const DAY_SECONDS = 24 * 3600;
/** As the reference: at half of the lifetime, at most 30 days ahead; and at a sixth, at most 7 days ahead. */
const MAX_PREPARE_AHEAD_SECONDS = 30 * DAY_SECONDS;
const MAX_ACTIVATE_AHEAD_SECONDS = 7 * DAY_SECONDS;

export interface RotationSteps<T extends Authority> {
  /** Makes an authority for the slot and has it in bundle and journal before it resolves. */
  prepare(slot: Slot): Promise<T>;
  /** Called after each change, to be written down before the change counts. */
  record(active: T | undefined, next: T | undefined): Promise<void>;
}

/** The active and the prepared authority of one kind. */
export class Rotation<T extends Authority> {
  readonly #steps: RotationSteps<T>;
  #active: T | undefined;
  #next: T | undefined;

  constructor(steps: RotationSteps<T>, active: T | undefined, next: T | undefined) {
    this.#steps = steps;
    this.#active = active;
    this.#next = next;
  }

  get active(): T | undefined {
    return this.#active;
  }

  get next(): T | undefined {
    return this.#next;
  }

  /** Does what is due. @param now Unix seconds */
  async advance(now: number): Promise<void> {
    if (this.#active === undefined || this.#active.notAfter <= now) {
      // A prepared authority is known to the fleet already, so it goes first.
      const usable = this.#next !== undefined && this.#next.notAfter > now ? this.#next : undefined;
      const replacement = usable ?? (await this.#steps.prepare(this.#freeSlot()));
      await this.#steps.record(replacement, undefined);
      this.#active = replacement;
      this.#next = undefined;
      return;
    }
    if (this.#next === undefined && now >= prepareAt(this.#active)) {
      const next = await this.#steps.prepare(this.#freeSlot());
      await this.#steps.record(this.#active, next);
      this.#next = next;
    }
    if (this.#next !== undefined && now >= activateAt(this.#active)) {
      await this.#steps.record(this.#next, undefined);
      this.#active = this.#next;
      this.#next = undefined;
    }
  }

  #freeSlot(): Slot {
    return this.#active?.slot === "A" ? "B" : "A";
  }
}

function lifetime({ issuedAt, notAfter }: Authority): number {
  return notAfter - issuedAt;
}

/** Unix seconds from which on the next authority is wanted. */
function prepareAt(authority: Authority): number {
  return authority.notAfter - Math.min(lifetime(authority) / 2, MAX_PREPARE_AHEAD_SECONDS);
}

/** Unix seconds from which on the next authority signs. */
function activateAt(authority: Authority): number {
  return authority.notAfter - Math.min(lifetime(authority) / 6, MAX_ACTIVATE_AHEAD_SECONDS);
}
