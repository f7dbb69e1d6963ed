/**
 * Regular expressions in RE2's syntax, as far as Go and JavaScript agree on it, read into a program for regex.ts. What is not known
 * here is refused, never read as something else.
 */
import { TemplateError } from "./values.ts";

/** One step of the program; `to` and `or` are places of other steps. */
export type Step =
  | { readonly op: "match" }
  | { readonly op: "one"; readonly accepts: Accepts }
  | { readonly op: "save"; readonly slot: number }
  | { readonly op: "check"; readonly holds: (before: string, after: string) => boolean }
  | { readonly op: "jump"; to: number }
  /** Tries `to` first. */
  | { readonly op: "split"; to: number; or: number };

/** Whether one character fits. */
type Accepts = (character: string) => boolean;

export interface Program {
  readonly steps: readonly Step[];
  /** Groups that remember, the whole match among them. */
  readonly groups: number;
  /** By name. */
  readonly names: ReadonlyMap<string, number>;
}

const MAX_STEPS = 2000;
const MAX_REPEAT = 1000;

const digit: Accepts = (one) => /^[0-9]$/.test(one);
const space: Accepts = (one) => /^[\t\n\f\r ]$/.test(one);
const word: Accepts = (one) => /^[0-9A-Za-z_]$/.test(one);
const not =
  (accepts: Accepts): Accepts =>
  (one) =>
    !accepts(one);

const CLASSES: Readonly<Record<string, Accepts>> = {
  d: digit,
  D: not(digit),
  s: space,
  S: not(space),
  w: word,
  W: not(word),
};

/** The edges of the text are the empty string. */
const boundary = (before: string, after: string): boolean => word(before) !== word(after);
const CHECKS: Readonly<Record<string, (before: string, after: string) => boolean>> = {
  A: (before) => before === "",
  z: (_before, after) => after === "",
  b: boundary,
  B: (before, after) => !boundary(before, after),
};

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\u0007",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** @throws TemplateError */
export function parseRegex(pattern: string): Program {
  return new Parser(pattern).program();
}

class Parser {
  readonly #characters: readonly string[];
  readonly #ignoreCase: boolean;
  readonly #steps: Step[] = [];
  readonly #names = new Map<string, number>();
  #groups = 1;
  #at = 0;

  constructor(pattern: string) {
    this.#ignoreCase = pattern.startsWith("(?i)");
    this.#characters = Array.from(this.#ignoreCase ? pattern.slice(4) : pattern);
  }

  program(): Program {
    this.#add({ op: "save", slot: 0 });
    this.#alternatives();
    if (this.#peek() !== undefined) throw this.#problem("unexpected )");
    this.#add({ op: "save", slot: 1 });
    this.#add({ op: "match" });
    return { steps: this.#steps, groups: this.#groups, names: this.#names };
  }

  #problem(what: string): TemplateError {
    return new TemplateError(`regular expression: ${what}`);
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #next(): string {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw this.#problem("it ends too early");
    return character;
  }

  #take(text: string): boolean {
    const found = this.#characters.slice(this.#at, this.#at + text.length).join("") === text;
    if (found) this.#at += text.length;
    return found;
  }

  #add(step: Step): number {
    if (this.#steps.length >= MAX_STEPS) throw this.#problem("it is too long");
    return this.#steps.push(step) - 1;
  }

  #alternatives(): void {
    const start = this.#steps.length;
    this.#sequence();
    if (!this.#take("|")) return;
    // What was written already moves behind the step that chooses.
    const first = this.#cut(start);
    const split = this.#add({ op: "split", to: start + 1, or: 0 });
    this.#paste(first);
    const jump = this.#add({ op: "jump", to: 0 });
    this.#aim(split, "or");
    this.#alternatives();
    this.#aim(jump, "to");
  }

  #aim(place: number, which: "to" | "or"): void {
    const step = this.#steps[place];
    if (step?.op === "split") step[which] = this.#steps.length;
    else if (step?.op === "jump") step.to = this.#steps.length;
  }

  /** Takes the steps from a place on out again, with places counted from there. */
  #cut(start: number): Step[] {
    return this.#steps.splice(start).map((step) => moved(step, -start));
  }

  #paste(steps: readonly Step[]): void {
    const start = this.#steps.length;
    for (const step of steps) this.#add(moved(step, start));
  }

  #sequence(): void {
    for (
      let one = this.#peek();
      one !== undefined && one !== "|" && one !== ")";
      one = this.#peek()
    ) {
      const start = this.#steps.length;
      this.#atom();
      this.#quantifier(start);
    }
  }

  #quantifier(start: number): void {
    const range = this.#range();
    if (range === undefined) return;
    const greedy = !this.#take("?");
    if (/^[*+?{]$/.test(this.#peek() ?? "")) throw this.#problem("a repetition is repeated");
    const body = this.#cut(start);
    const { min, max } = range;
    for (let count = 0; count < min; count++) this.#paste(body);
    if (max !== undefined) {
      this.#optional(body, max - min, greedy);
      return;
    }
    // RE2 has rules of its own for this, and nobody needs it.
    if (mayBeEmpty(body)) throw this.#problem("what may be empty is repeated without end");
    const split = this.#choice(greedy);
    this.#paste(body);
    this.#add({ op: "jump", to: split });
    this.#aim(split, greedy ? "or" : "to");
  }

  /** A step that takes what follows, or goes to a place that is aimed at later; the first of them where it is greedy. */
  #choice(greedy: boolean): number {
    const split = this.#add({ op: "split", to: 0, or: 0 });
    this.#aim(split, greedy ? "to" : "or");
    return split;
  }

  #range(): { readonly min: number; readonly max: number | undefined } | undefined {
    if (this.#take("*")) return { min: 0, max: undefined };
    if (this.#take("+")) return { min: 1, max: undefined };
    if (this.#take("?")) return { min: 0, max: 1 };
    if (!this.#take("{")) return undefined;
    const [whole = "", low = "", comma, high = ""] =
      /^(\d{1,4})(,)?(\d{1,4})?\}/.exec(this.#characters.slice(this.#at, this.#at + 12).join("")) ??
      [];
    const min = Number(low);
    const max = high === "" ? (comma === undefined ? min : undefined) : Number(high);
    if (whole === "" || min > MAX_REPEAT || (max ?? min) > MAX_REPEAT || (max ?? min) < min) {
      throw this.#problem("the number of repetitions is malformed; a brace itself is written \\{");
    }
    this.#at += whole.length;
    return { min, max };
  }

  #optional(body: readonly Step[], times: number, greedy: boolean): void {
    const splits: number[] = [];
    for (let count = 0; count < times; count++) {
      splits.push(this.#choice(greedy));
      this.#paste(body);
    }
    for (const split of splits) this.#aim(split, greedy ? "or" : "to");
  }

  #atom(): void {
    const one = this.#next();
    if (one === "(") this.#group();
    else if (one === "^") this.#check("A");
    else if (one === "$") this.#check("z");
    else if (one === "\\") this.#escape();
    else this.#one(this.#single(one));
  }

  #single(one: string): Accepts {
    if (one === "[") return this.#class();
    if (one === ".") return (character) => character !== "\n";
    if (/^[*+?{]$/.test(one)) throw this.#problem(`there is nothing that ${one} could repeat`);
    return this.#equal(one);
  }

  #one(accepts: Accepts): void {
    this.#add({ op: "one", accepts });
  }

  #check(name: string): void {
    const holds = CHECKS[name];
    if (holds !== undefined) this.#add({ op: "check", holds });
  }

  #equal(wanted: string): Accepts {
    return this.#inRange(wanted, wanted);
  }

  #inRange(low: string, high: string): Accepts {
    const [from, to] = [codeOf(low), codeOf(high)];
    const within = (one: string): boolean => codeOf(one) >= from && codeOf(one) <= to;
    return this.#ignoreCase
      ? (one) => within(one) || within(one.toLowerCase()) || within(one.toUpperCase())
      : within;
  }

  #group(): void {
    if (this.#take("?:")) {
      this.#alternatives();
    } else {
      const name = this.#groupName();
      const group = this.#groups++;
      if (name !== undefined) this.#names.set(name, group);
      this.#add({ op: "save", slot: 2 * group });
      this.#alternatives();
      this.#add({ op: "save", slot: 2 * group + 1 });
    }
    if (!this.#take(")")) throw this.#problem("a group is not closed");
  }

  #groupName(): string | undefined {
    if (this.#peek() !== "?") return undefined;
    const rest = this.#characters.slice(this.#at).join("");
    const [whole = "", name] = /^\?P?<(\w+)>/.exec(rest) ?? [];
    if (name === undefined || this.#names.has(name)) {
      throw this.#problem(
        "of groups that begin with (? only (?: and (?P<name> are supported, and (?i) at the start",
      );
    }
    this.#at += whole.length;
    return name;
  }

  #escape(): void {
    const one = this.#peek() ?? "";
    if (one in CHECKS) {
      this.#at++;
      this.#check(one);
    } else this.#one(this.#namedClass() ?? this.#equal(this.#escaped()));
  }

  #namedClass(): Accepts | undefined {
    const named = CLASSES[this.#peek() ?? ""];
    if (named !== undefined) this.#at++;
    return named;
  }

  /** The character that an escape stands for. */
  #escaped(): string {
    const one = this.#next();
    const special = ESCAPES[one];
    if (special !== undefined) return special;
    if (/^[!-/:-@[-`{-~]$/.test(one)) return one;
    const [whole, code] =
      /^([0-9a-fA-F]{2})/.exec(this.#characters.slice(this.#at, this.#at + 2).join("")) ?? [];
    if (one !== "x" || whole === undefined || code === undefined) {
      throw this.#problem(`the escape \\${one} is not supported`);
    }
    this.#at += 2;
    return String.fromCodePoint(Number.parseInt(code, 16));
  }

  #class(): Accepts {
    const negated = this.#take("^");
    const members: Accepts[] = [];
    do {
      members.push(this.#member());
    } while (!this.#take("]"));
    const accepts: Accepts = (one) => members.some((member) => member(one));
    return negated ? not(accepts) : accepts;
  }

  #member(): Accepts {
    if (this.#take("[:")) throw this.#problem("classes like [:alpha:] are not supported");
    if (this.#take("\\")) {
      const named = this.#namedClass();
      if (named !== undefined) return named;
      this.#at--;
    }
    const low = this.#classCharacter();
    if (this.#peek() !== "-" || this.#characters[this.#at + 1] === "]") return this.#equal(low);
    this.#at++;
    const high = this.#classCharacter();
    if (codeOf(high) < codeOf(low)) throw this.#problem(`the range ${low}-${high} is empty`);
    return this.#inRange(low, high);
  }

  #classCharacter(): string {
    return this.#take("\\") ? this.#escaped() : this.#next();
  }
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function moved(step: Step, by: number): Step {
  if (step.op === "jump") return { ...step, to: step.to + by };
  return step.op === "split" ? { ...step, to: step.to + by, or: step.or + by } : step;
}

/** Whether the steps can be gone through without taking a character. */
function mayBeEmpty(steps: readonly Step[]): boolean {
  const seen = new Set<number>();
  const places = [0];
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    const step = steps[place];
    if (step === undefined) return true;
    if (seen.has(place) || step.op === "one") continue;
    seen.add(place);
    if (step.op === "split") places.push(step.to, step.or);
    else places.push(step.op === "jump" ? step.to : place + 1);
  }
  return false;
}
