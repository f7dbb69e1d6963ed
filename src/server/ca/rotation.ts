/**
 * When authorities change: the next one is prepared (and so reaches every bundle) long before it signs, and takes over while the
 * old one still has time left for what it signed. An operator can do either by hand.
 */
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Authority, Slot } from "./authority.ts";
import type { Turns } from "./turns.ts";

const DAY_SECONDS = 24 * 3600;
/** As the reference: at half of the lifetime, at most 30 days ahead; and at a sixth, at most 7 days ahead. */
const MAX_PREPARE_AHEAD_SECONDS = 30 * DAY_SECONDS;
const MAX_ACTIVATE_AHEAD_SECONDS = 7 * DAY_SECONDS;

export interface RotationSteps<T extends Authority> {
  /** Makes an authority for the slot and has it in bundle and journal before it resolves. */
  prepare(slot: Slot): Promise<T>;
  /** Writes down that the authority signs from now on, before it does. */
  activate(authority: T): Promise<void>;
  /** Whether the key is still there, and would be after a restart; what is prepared in its slot takes its place. */
  hasKey(authority: T): boolean;
}

/** The authorities of one kind. There are two slots for keys, so an old authority is forgotten when its slot is prepared again. */
export interface RotationState<T extends Authority> {
  /** What signs. */
  readonly active: T | undefined;
  /** What signs next. */
  readonly prepared: T | undefined;
  /** What signed before; its key may be gone. */
  readonly old: Authority | undefined;
}

export class Rotation<T extends Authority> {
  readonly #steps: RotationSteps<T>;
  readonly #turns: Turns;
  #state: RotationState<T>;

  /** @param turns shared by all that write to the same journal */
  constructor(steps: RotationSteps<T>, turns: Turns, recovered: RotationState<T>) {
    this.#steps = steps;
    this.#turns = turns;
    this.#state = recovered;
  }

  get state(): RotationState<T> {
    return this.#state;
  }

  /** Unix seconds, perhaps with a fraction: when `advance` has something to do again. */
  get dueAt(): number {
    const { active, prepared } = this.#state;
    if (active === undefined) return 0;
    return prepared === undefined ? prepareAt(active) : activateAt(active);
  }

  /** Does what is due. @param now Unix seconds */
  advance(now: number): Promise<void> {
    return this.#turns.take(async () => {
      const active = stillValid(this.#state.active, now);
      const prepared = stillValid(this.#state.prepared, now);
      // A prepared authority is known to the fleet already, so it goes before a new one.
      if (prepared === undefined && (active === undefined || now >= prepareAt(active))) {
        await this.#prepare();
      }
      if (active === undefined || now >= activateAt(active)) await this.#activate();
    });
  }

  /** Prepares an authority now; it takes the place of one that was prepared before. */
  prepare(): Promise<T> {
    return this.#turns.take(() => this.#prepare());
  }

  /** Prepares an authority now unless the newest one will do. */
  prepareUnless(willDo: (newest: T) => boolean): Promise<void> {
    return this.#turns.take(async () => {
      const newest = this.#state.prepared ?? this.#state.active;
      if (newest === undefined || !willDo(newest)) await this.#prepare();
    });
  }

  /**
   * Activates a prepared authority now.
   *
   * @throws StatusError INVALID_ARGUMENT when it is not the prepared one any more
   */
  activate(authority: T): Promise<void> {
    return this.#turns.take(async () => {
      if (this.#state.prepared !== authority) {
        throw new StatusError(StatusCode.INVALID_ARGUMENT, "unexpected authority ID");
      }
      await this.#activate();
    });
  }

  async #prepare(): Promise<T> {
    const { active, old } = this.#state;
    const slot = (active ?? old)?.slot === "A" ? "B" : "A";
    try {
      const prepared = await this.#steps.prepare(slot);
      this.#state = { active, prepared, old: old?.slot === slot ? undefined : old };
      return prepared;
    } catch (error) {
      this.#forgetWithoutKey();
      throw error;
    }
  }

  /** What broke off may have replaced the key of an authority that was prepared before: the next start would not find it. */
  #forgetWithoutKey(): void {
    const { active, prepared, old } = this.#state;
    if (prepared === undefined || this.#steps.hasKey(prepared)) return;
    this.#state = { active, prepared: undefined, old };
  }

  async #activate(): Promise<void> {
    const { active, prepared, old } = this.#state;
    if (prepared === undefined) return;
    await this.#steps.activate(prepared);
    this.#state = { active: prepared, prepared: undefined, old: active ?? old };
  }
}

function stillValid<T extends Authority>(authority: T | undefined, now: number): T | undefined {
  return authority !== undefined && authority.notAfter > now ? authority : undefined;
}

type Life = Pick<Authority, "issuedAt" | "notAfter">;

function lifetime({ issuedAt, notAfter }: Life): number {
  return notAfter - issuedAt;
}

/** Unix seconds from which on the next authority is wanted. */
export function prepareAt(authority: Life): number {
  return authority.notAfter - Math.min(lifetime(authority) / 2, MAX_PREPARE_AHEAD_SECONDS);
}

/** Unix seconds from which on the next authority signs. */
export function activateAt(authority: Life): number {
  return authority.notAfter - Math.min(lifetime(authority) / 6, MAX_ACTIVATE_AHEAD_SECONDS);
}
