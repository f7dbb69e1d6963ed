/**
 * Templates for the paths of SPIFFE IDs: the part of Go's text/template that such paths need, with the functions that the reference
 * offers. A template that is read here gives what the reference gives, or is refused; it is never taken to mean something else.
 */
import { builtins } from "./builtins.ts";
import { evaluate } from "./evaluate.ts";
import type { Functions } from "./functions.ts";
import { listFunctions } from "./list-functions.ts";
import { type Node, parse } from "./parser.ts";
import { regexFunctions } from "./regex-functions.ts";
import { textFunctions } from "./text-functions.ts";
import type { Fields } from "./values.ts";

const FUNCTIONS: Functions = new Map(
  Object.entries({ ...builtins, ...textFunctions, ...listFunctions, ...regexFunctions }),
);

export class Template {
  readonly #text: string;
  readonly #nodes: readonly Node[];

  private constructor(text: string, nodes: readonly Node[]) {
    this.#text = text;
    this.#nodes = nodes;
  }

  /** As it is written. */
  toJSON(): string {
    return this.#text;
  }

  /**
   * @param fields the names of what the template may ask for
   * @throws TemplateError naming what is wrong and where
   */
  static parse(text: string, fields: readonly string[]): Template {
    return new Template(text, parse(text, { functions: FUNCTIONS, fields }));
  }

  /** @throws TemplateError when the data do not have what the template asks for */
  execute(data: Fields): string {
    return evaluate(this.#nodes, data, FUNCTIONS);
  }
}
