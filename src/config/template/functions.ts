/** How a function of a template says what it takes: arguments are counted before anything runs, and their kinds checked when it does. */
import {
  type Dict,
  isDict,
  isList,
  kindOf,
  type List,
  TemplateError,
  type Value,
} from "./values.ts";

export interface TemplateFunction {
  /** What is wrong with that many arguments, or undefined. */
  countProblem(given: number): string | undefined;
  /** @throws TemplateError */
  call(given: readonly Value[]): Value;
}

export type Functions = ReadonlyMap<string, TemplateFunction>;

interface Kinds {
  readonly string: string;
  readonly number: number;
  readonly boolean: boolean;
  readonly list: List;
  readonly map: Dict;
  readonly any: Value;
}

type Kind = keyof Kinds;
type ValuesOf<P extends readonly Kind[]> = { readonly [I in keyof P]: Kinds[P[I]] };

/** A function of so many arguments of these kinds. */
export function takes<const P extends readonly Kind[]>(
  kinds: P,
  run: (...args: ValuesOf<P>) => Value,
): TemplateFunction {
  return {
    countProblem: (given) =>
      given === kinds.length ? undefined : `takes ${kinds.length} arguments, not ${given}`,
    call: (given) =>
      run(...(given.map((value, at) => checked(value, kinds[at])) as unknown as ValuesOf<P>)),
  };
}

/** A function of arguments of these kinds, and any number of another kind. */
export function takesMore<const P extends readonly Kind[], R extends Kind>(
  kinds: P,
  rest: R,
  run: (...args: [...ValuesOf<P>, ...Kinds[R][]]) => Value,
): TemplateFunction {
  return {
    countProblem: (given) =>
      given >= kinds.length ? undefined : `takes at least ${kinds.length} arguments, not ${given}`,
    call: (given) =>
      run(
        ...(given.map((value, at) => checked(value, kinds[at] ?? rest)) as [
          ...ValuesOf<P>,
          ...Kinds[R][],
        ]),
      ),
  };
}

function checked(value: Value, kind: Kind | undefined): Value {
  if (kind === undefined || kind === "any" || isOfKind(value, kind)) return value;
  throw new TemplateError(`wants ${NAMES[kind]}, not ${kindOf(value)}`);
}

const NAMES = {
  string: "a string",
  number: "a number",
  boolean: "true or false",
  list: "a list",
  map: "a map",
} as const;

function isOfKind(value: Value, kind: Exclude<Kind, "any">): boolean {
  if (kind === "list") return isList(value);
  return kind === "map" ? isDict(value) : typeof value === kind;
}
