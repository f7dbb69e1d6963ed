/**
 * A set of entries made what it is declared to be. The one path for the server's own directory and for `entry apply`: check everything,
 * find the difference, and only when nothing stands in the way make it, in groups that are a transaction each. What a crash leaves undone
 * the next reconciliation does.
 */
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { DeclaredEntry } from "#proto/spire_edge/declared/v1/declared.ts";
import type { DataStore, DeclaredStep, ExpectedEntry } from "#server/datastore/datastore.ts";
import { codeOf, invalidArgument } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { type CheckedEntries, checkEntries } from "./check-entries.ts";
import { type Change, type Difference, findDifference, type KnownEntry } from "./difference.ts";
import { inTurns } from "./in-turns.ts";

export interface ReconcileParts {
  readonly trustDomain: TrustDomain;
  readonly store: Pick<DataStore, "entries" | "declaredEntries" | "bundles">;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Declaration {
  readonly set: string;
  readonly declared: readonly DeclaredEntry[];
  /** Whether entries made by hand or in other sets are taken over. */
  readonly adopt: boolean;
  /** Whether the set may lose all of its entries, or more than half of them. */
  readonly allowRemoval: boolean;
}

export interface Plan {
  readonly changes: readonly Change[];
  readonly unchanged: number;
  readonly expired: number;
  /** What an operator has to agree to before the changes are made; undefined when there is nothing. */
  readonly loss: string | undefined;
}

/** How many changes a plan has of each kind. */
export function countChanges({ changes }: Pick<Plan, "changes">): {
  readonly created: number;
  readonly updated: number;
  readonly adopted: number;
  readonly removed: number;
} {
  const counts = { create: 0, update: 0, adopt: 0, remove: 0 };
  for (const { kind } of changes) counts[kind]++;
  const { create: created, update: updated, adopt: adopted, remove: removed } = counts;
  return { created, updated, adopted, removed };
}

/** Called for each group of changes that was made, with the entry IDs of those created. */
export type Made = (changes: readonly MadeChange[]) => void;

export interface MadeChange {
  readonly change: Change;
  readonly entryId: string;
}

/** Changes in one transaction. To make and to announce them keeps the event loop for a few milliseconds. */
const GROUP = 200;
/** How often it starts over when somebody else changes the same entries meanwhile. */
const MAX_ROUNDS = 10;
/** A set may always lose that many. */
const SMALL_LOSS = 10;
/** How many problems are told: a wrong trust domain would otherwise be told ten thousand times, in a message that no client takes. */
const MAX_PROBLEMS = 20;
const MAX_PROBLEM_CHARACTERS = 3000;

/** Only one set is reconciled at a time: each looks at all entries. */
export class Reconciler {
  readonly #parts: ReconcileParts;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: ReconcileParts) {
    this.#parts = parts;
  }

  /** What would change. @throws StatusError as `apply` does, but for what an operator may agree to */
  plan(declaration: Declaration): Promise<Plan> {
    return this.#alone(() => this.#plan(declaration));
  }

  /**
   * Makes the changes.
   *
   * @throws StatusError INVALID_ARGUMENT naming what is wrong with the declaration and FAILED_PRECONDITION naming what is in its way: then
   *   nothing was changed; ABORTED when others change the same entries all the time
   */
  apply(declaration: Declaration, made: Made): Promise<Plan> {
    return this.#alone(() => this.#apply(declaration, made));
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #plan(declaration: Declaration): Promise<Plan> {
    const { trustDomain, store, clock } = this.#parts;
    const all = { size: 0, token: "" };
    const bundles = (await store.bundles.list(all)).items.map((bundle) => bundle.trustDomain.name);
    const checked = await checkEntries(
      { trustDomain, bundles: new Set(bundles), now: clock.nowSeconds() },
      declaration.declared,
    );
    if (checked.problems.length > 0) {
      throw invalidArgument(listed("wrong declared entries", checked.problems));
    }
    const known = await this.#knownEntries();
    const difference = await findDifference({ ...declaration, declared: checked.entries, known });
    if (difference.conflicts.length > 0) {
      throw refusal(listed("entries are in the way", difference.conflicts));
    }
    return planOf(checked, difference);
  }

  async #knownEntries(): Promise<readonly KnownEntry[]> {
    const { entries, declaredEntries } = this.#parts.store;
    const sets = await declaredEntries.sets();
    const { items } = await entries.list({}, { size: 0, token: "" });
    const known: KnownEntry[] = [];
    await inTurns(items, (entry) => known.push({ entry, set: sets.get(entry.id) }));
    return known;
  }

  async #apply(declaration: Declaration, made: Made): Promise<Plan> {
    const done: Change[] = [];
    for (let rounds = 1; ; rounds++) {
      const plan = await this.#plan(declaration);
      // Later rounds only finish what an earlier one was allowed to begin.
      if (rounds === 1 && plan.loss !== undefined && !declaration.allowRemoval) {
        throw refusal(plan.loss);
      }
      try {
        for (const group of groupsOf(plan.changes)) {
          await this.#make(declaration.set, group, made);
          done.push(...group);
        }
        return { ...plan, changes: done };
      } catch (error) {
        const isRace = [StatusCode.ABORTED, StatusCode.ALREADY_EXISTS].some(
          (code) => code === codeOf(error),
        );
        if (!isRace || rounds === MAX_ROUNDS) throw error;
      }
    }
  }

  async #make(set: string, changes: readonly Change[], made: Made): Promise<void> {
    const { clock, random, store } = this.#parts;
    const results: MadeChange[] = [];
    const steps = changes.map((change): DeclaredStep => {
      if (change.kind !== "create") {
        results.push({ change, entryId: change.before.entry.id });
        return stepOf(change);
      }
      const { declared, replaces } = change;
      const id = declared.id === "" ? random.uuid() : declared.id;
      results.push({ change, entryId: id });
      return {
        kind: "create",
        entry: { ...declared.fields, id, createdAt: clock.nowSeconds(), revisionNumber: 0 },
        ...(replaces === undefined ? {} : { replaces: expected(replaces) }),
      };
    });
    await store.declaredEntries.apply(set, steps);
    made(results);
  }
}

function stepOf(change: Exclude<Change, { readonly kind: "create" }>): DeclaredStep {
  if (change.kind === "remove") return { kind: "remove", expected: expected(change.before) };
  const { before, fields, declared } = change;
  return {
    kind: "update",
    expected: expected(before),
    change: fields.length === 0 ? undefined : declared.fields,
  };
}

function expected({ entry, set }: KnownEntry): ExpectedEntry {
  return { id: entry.id, revisionNumber: entry.revisionNumber, set };
}

function planOf(checked: CheckedEntries, difference: Difference): Plan {
  const { changes, unchanged, owned } = difference;
  const left = checked.entries.length;
  const isLoss = left < owned && (left === 0 || (owned - left > SMALL_LOSS && left < owned / 2));
  return {
    changes,
    unchanged,
    expired: checked.expired,
    loss: isLoss
      ? `of ${owned} entries only ${left} would be left, which may be a mistake: -allowRemoval lets it happen`
      : undefined,
  };
}

function* groupsOf(changes: readonly Change[]): Generator<readonly Change[]> {
  for (let start = 0; start < changes.length; start += GROUP) {
    yield changes.slice(start, start + GROUP);
  }
}

function refusal(message: string): StatusError {
  return new StatusError(StatusCode.FAILED_PRECONDITION, message);
}

/** As many problems as a message can hold, a line each, the first one first. */
function listed(what: string, problems: readonly string[]): string {
  let text = `${what}, nothing was changed:`;
  let told = 0;
  for (const problem of problems.slice(0, MAX_PROBLEMS)) {
    if (told > 0 && text.length + problem.length > MAX_PROBLEM_CHARACTERS) break;
    text += `\n${problem}`;
    told++;
  }
  const rest = problems.length - told;
  // The first problem may quote a text of any length.
  text = text.slice(0, 2 * MAX_PROBLEM_CHARACTERS);
  return rest === 0 ? text : `${text}\nand ${rest} more`;
}
