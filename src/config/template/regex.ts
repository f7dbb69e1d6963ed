/**
 * Regular expressions that take time in proportion to the text, whatever the expression: every way to match is followed at once,
 * one character after the other. The names in a certificate are a stranger's, and JavaScript's own expressions can be made to run for
 * ever. Of several matches the one counts that RE2 takes: the first to start, then the first in the order of the expression.
 */
import { type Program, parseRegex } from "./regex-parser.ts";

/** Starts and ends by group, counted in characters; undefined for a group that took no part. */
export type Match = readonly (number | undefined)[];

interface Thread {
  readonly place: number;
  readonly saved: Match;
}

export class Regex {
  readonly #program: Program;

  /** @throws TemplateError for what is malformed or not supported */
  constructor(pattern: string) {
    this.#program = parseRegex(pattern);
  }

  /** The numbers of the groups that have a name. */
  get names(): ReadonlyMap<string, number> {
    return this.#program.names;
  }

  /** The first match that starts at that character or later. */
  find(text: readonly string[], from: number): Match | undefined {
    let found: Match | undefined;
    let threads: Thread[] = [];
    for (let at = from; at <= text.length; at++) {
      const next = new Threads(this.#program, text, at);
      for (const thread of threads) next.add(thread.place, thread.saved);
      if (found === undefined) next.add(0, []);
      const ready = next.untilMatch();
      found = ready.match ?? found;
      const character = text[at];
      if (character === undefined || (ready.threads.length === 0 && found !== undefined)) break;
      threads = this.#step(ready.threads, character);
    }
    return found;
  }

  #step(threads: readonly Thread[], character: string): Thread[] {
    return threads.flatMap(({ place, saved }) => {
      const step = this.#program.steps[place];
      return step?.op === "one" && step.accepts(character) ? [{ place: place + 1, saved }] : [];
    });
  }

  /** All matches, one after the other; an empty one does not follow the end of another at once. */
  findAll(text: readonly string[]): Match[] {
    const found: Match[] = [];
    let last = -1;
    for (let at = 0; at <= text.length; ) {
      const match = this.find(text, at);
      const [start = 0, end = 0] = match ?? [];
      if (match === undefined) break;
      if (end > start || start !== last) found.push(match);
      at = end > at ? end : at + 1;
      last = end;
    }
    return found;
  }
}

/** The threads at one place in the text, the preferred ones first; none stands twice at the same step. */
class Threads {
  readonly #program: Program;
  readonly #before: string;
  readonly #after: string;
  readonly #at: number;
  readonly #seen = new Set<number>();
  readonly #ready: Thread[] = [];

  constructor(program: Program, text: readonly string[], at: number) {
    this.#program = program;
    this.#before = text[at - 1] ?? "";
    this.#after = text[at] ?? "";
    this.#at = at;
  }

  /** Goes on from a step to those that wait for a character, or to the match. */
  add(place: number, saved: Match): void {
    if (this.#seen.has(place)) return;
    this.#seen.add(place);
    const step = this.#program.steps[place];
    switch (step?.op) {
      case "jump":
        this.add(step.to, saved);
        break;
      case "split":
        this.add(step.to, saved);
        this.add(step.or, saved);
        break;
      case "save":
        this.add(place + 1, withSlot(saved, step.slot, this.#at));
        break;
      case "check":
        if (step.holds(this.#before, this.#after)) this.add(place + 1, saved);
        break;
      default:
        this.#ready.push({ place, saved });
    }
  }

  /** Those that are preferred to a match, and the match. */
  untilMatch(): { readonly threads: readonly Thread[]; readonly match: Match | undefined } {
    const end = this.#ready.findIndex(({ place }) => this.#program.steps[place]?.op === "match");
    return end === -1
      ? { threads: this.#ready, match: undefined }
      : { threads: this.#ready.slice(0, end), match: this.#ready[end]?.saved };
  }
}

function withSlot(saved: Match, slot: number, at: number): Match {
  const copy = [...saved];
  copy[slot] = at;
  return copy;
}
