/**
 * When authorities change: the next one is prepared (and so reaches every bundle) long before it signs, and takes over while the
 * old one still has time left for what it signed. One that is to live longer, since the operator said so meanwhile, is prepared at once, and
 * takes over as soon as others know it. An operator can do either by hand.
 */

import type { Authority, Slot } from "#server/ca/authority/authority.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Turns } from "./turns.ts";

const DAY_SECONDS = 24 * 3600;
/** As the reference: at half of the lifetime, at most 30 days ahead; and at a sixth, at most 7 days ahead. */
const MAX_PREPARE_AHEAD_SECONDS = 30 * DAY_SECONDS;
const MAX_ACTIVATE_AHEAD_SECONDS = 7 * DAY_SECONDS;
/** As often as other trust domains ask for our bundle unless they are told otherwise; agents know an authority within seconds. */
const SPREAD_SECONDS = 300;
const TWO_SLOTS: readonly Slot[] = ["A", "B"];

export interface RotationSteps<T extends Authority> {
  /** Where authorities may lie; A and B if absent. */
  readonly slots?: readonly Slot[];
  /** How long before the end of an authority the next one is wanted, in seconds, at most; 30 days if absent. */
  prepareAheadSeconds?(): number;
  /** How long authorities are to live, in seconds, as the configuration has it now; absent where that is up to somebody else. */
  ttlSeconds?(): number;
  /**
   * Makes an authority for the slot and has it in bundle and journal before it resolves; undefined where somebody has to make it first,
   * who then brings it by `adopt`.
   */
  prepare(slot: Slot): Promise<T | undefined>;
  /** What is awaited then, in words for the operator. */
  awaiting?(): string;
  /** Unix seconds before which the authority cannot sign. */
  startsAt?(authority: T): number;
  /** Writes down that the authority signs from now on, before it does. */
  activate(authority: T): Promise<void>;
  /** Whether the key is still there, and would be after a restart; what is prepared in its slot takes its place. */
  hasKey(authority: T): boolean;
}

/** The authorities of one kind. There are few slots for keys, so an old authority is forgotten when its slot is prepared again. */
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
  /** Whether the next authority was asked for and somebody is to bring it. */
  #isAwaited = false;

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
    if (this.#isAwaited) return Infinity;
    return this.activatesAt ?? this.preparesAt;
  }

  /** Unix seconds, perhaps with a fraction: from when on an authority after the newest is wanted. */
  get preparesAt(): number {
    const newest = this.#state.prepared ?? this.#state.active;
    return newest === undefined || this.#isOutgrown(newest) ? 0 : this.#prepareAt(newest);
  }

  /** Unix seconds, perhaps with a fraction: when the prepared authority takes over by itself; undefined without one. */
  get activatesAt(): number | undefined {
    const { active, prepared } = this.#state;
    if (prepared === undefined) return undefined;
    const fromActive = active === undefined ? 0 : takesOverAt(prepared, active);
    return Math.max(this.#startsAt(prepared), fromActive);
  }

  /** Unix seconds, perhaps with a fraction: when the next authority takes over; 0 while there is none. */
  get rotatesAt(): number {
    const { active, prepared } = this.#state;
    if (active === undefined) return 0;
    return prepared === undefined ? activateAt(active) : takesOverAt(prepared, active);
  }

  /** Does what is due. @param now Unix seconds */
  advance(now: number): Promise<void> {
    return this.#turns.take(async () => {
      const active = stillValid(this.#state.active, now);
      const prepared = stillValid(this.#state.prepared, now);
      // A prepared authority is known to the fleet already, so it goes before a new one.
      const isWanted = active === undefined || now >= this.#prepareAt(active);
      const newest = prepared ?? active;
      const isOutgrown = newest !== undefined && this.#isOutgrown(newest);
      const isDue = isOutgrown || (prepared === undefined && isWanted);
      if (isDue && !this.#isAwaited) await this.#prepare();
      const next = stillValid(this.#state.prepared, now);
      if (next === undefined || this.#startsAt(next) > now) return;
      if (active === undefined || now >= takesOverAt(next, active)) await this.#activate();
    });
  }

  /**
   * Takes an authority that somebody else made as the prepared one.
   *
   * @param make brings it, with it in bundle and journal; nothing changes when it fails
   */
  adopt(make: () => Promise<T>): Promise<T> {
    return this.#turns.take(async () => {
      const made = await make();
      this.#becomePrepared(made);
      return made;
    });
  }

  /**
   * Prepares an authority now; it takes the place of one that was prepared before.
   *
   * @throws StatusError FAILED_PRECONDITION when it was asked for, and somebody is to bring it
   */
  prepare(): Promise<T> {
    return this.#turns.take(async () => {
      const prepared = await this.#prepare();
      if (prepared !== undefined) return prepared;
      const words = this.#steps.awaiting?.() ?? "the authority is made elsewhere";
      throw new StatusError(StatusCode.FAILED_PRECONDITION, words);
    });
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

  async #prepare(): Promise<T | undefined> {
    try {
      const prepared = await this.#steps.prepare(this.#freeSlot());
      if (prepared === undefined) this.#isAwaited = true;
      else this.#becomePrepared(prepared);
      return prepared;
    } catch (error) {
      this.#forgetWithoutKey();
      throw error;
    }
  }

  /** One whose key nobody needs; where there is none, what is prepared gives way. */
  #freeSlot(): Slot {
    const { active, prepared, old } = this.#state;
    const others = (this.#steps.slots ?? TWO_SLOTS).filter(
      (slot) => slot !== (active ?? old)?.slot,
    );
    return others.find((slot) => slot !== prepared?.slot) ?? others[0] ?? "A";
  }

  #becomePrepared(prepared: T): void {
    const { active, old } = this.#state;
    this.#isAwaited = false;
    this.#state = { active, prepared, old: old?.slot === prepared.slot ? undefined : old };
  }

  #startsAt(authority: T): number {
    return this.#steps.startsAt?.(authority) ?? 0;
  }

  /** Whether authorities were to live for less when it was made than they are now. */
  #isOutgrown({ ttlSeconds }: Authority): boolean {
    const wanted = this.#steps.ttlSeconds?.();
    return ttlSeconds !== undefined && wanted !== undefined && ttlSeconds < wanted;
  }

  #prepareAt(authority: Authority): number {
    return prepareAt(authority, this.#steps.prepareAheadSeconds?.());
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

/** Unix seconds from which on the next authority is wanted. @param mostAheadSeconds of the end */
export function prepareAt(
  authority: Life,
  mostAheadSeconds: number = MAX_PREPARE_AHEAD_SECONDS,
): number {
  return authority.notAfter - Math.min(lifetime(authority) / 2, mostAheadSeconds);
}

/** Unix seconds from which on the next authority signs. */
export function activateAt(authority: Life): number {
  return authority.notAfter - Math.min(lifetime(authority) / 6, MAX_ACTIVATE_AHEAD_SECONDS);
}

/** Unix seconds from which on the prepared authority signs in place of the active one. */
function takesOverAt(prepared: Authority, active: Authority): number {
  const usual = activateAt(active);
  if ((prepared.ttlSeconds ?? 0) <= (active.ttlSeconds ?? Number.POSITIVE_INFINITY)) return usual;
  const above = prepared.upstreamAuthorityId;
  const isBelowTheSame = above !== "" && above === active.upstreamAuthorityId;
  return Math.min(usual, prepared.issuedAt + (isBelowTheSame ? 0 : SPREAD_SECONDS));
}
