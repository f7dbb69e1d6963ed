/** Go's template language, third step: the tree is run on data. */
import type { TemplateFunction } from "./functions.ts";
import type { Command, Node, Operand, Pipeline } from "./parser.ts";
import {
  type Fields,
  isDict,
  isEmpty,
  isList,
  kindOf,
  printed,
  TemplateError,
  type Value,
} from "./values.ts";

/** A SPIFFE ID has at most 2048 bytes; whatever grows far beyond is a mistake. */
const MAX_OUTPUT = 16 * 1024;

interface Variable {
  readonly name: string;
  value: Value;
}

/** @throws TemplateError */
export function evaluate(
  nodes: readonly Node[],
  data: Fields,
  functions: ReadonlyMap<string, TemplateFunction>,
): string {
  const run = new Run(data, functions);
  run.nodes(nodes, data);
  return run.output;
}

class Run {
  readonly #functions: ReadonlyMap<string, TemplateFunction>;
  readonly #variables: Variable[];
  output = "";

  constructor(data: Fields, functions: ReadonlyMap<string, TemplateFunction>) {
    this.#functions = functions;
    this.#variables = [{ name: "$", value: data }];
  }

  nodes(nodes: readonly Node[], dot: Value): void {
    for (const node of nodes) {
      if (node.kind === "text") this.#write(node.text);
      else if (node.kind === "print") this.#print(node.pipeline, dot);
      else this.#control(node, dot);
    }
  }

  #write(text: string): void {
    this.output += text;
    if (this.output.length > MAX_OUTPUT) {
      throw new TemplateError(`the template makes more than ${MAX_OUTPUT} characters`);
    }
  }

  /** An action that sets a variable prints nothing. */
  #print(pipeline: Pipeline, dot: Value): void {
    const value = this.#pipeline(pipeline, dot);
    const [name] = pipeline.variables;
    if (name === undefined) this.#write(printed(value));
    else this.#set(name, value, pipeline.declares);
  }

  #control(node: Exclude<Node, { kind: "text" | "print" }>, dot: Value): void {
    const scope = this.#variables.length;
    const value = this.#pipeline(node.pipeline, dot);
    if (node.kind === "range") this.#range(node, value, dot);
    else {
      const [name] = node.pipeline.variables;
      if (name !== undefined) this.#set(name, value, node.pipeline.declares);
      if (isEmpty(value)) this.nodes(node.otherwise, dot);
      else this.nodes(node.body, node.kind === "with" ? value : dot);
    }
    this.#variables.length = scope;
  }

  #range(node: Exclude<Node, { kind: "text" | "print" }>, value: Value, dot: Value): void {
    const items = itemsOf(value);
    if (items.length === 0) this.nodes(node.otherwise, dot);
    const { variables, declares } = node.pipeline;
    const scope = this.#variables.length;
    for (const [key, item] of items) {
      const [first, second] = variables;
      if (first !== undefined) this.#set(first, second === undefined ? item : key, declares);
      if (second !== undefined) this.#set(second, item, declares);
      this.nodes(node.body, item);
      this.#variables.length = scope;
    }
  }

  #set(name: string, value: Value, declares: boolean): void {
    if (declares) {
      this.#variables.push({ name, value });
      return;
    }
    const known = this.#variables.findLast((variable) => variable.name === name);
    if (known !== undefined) known.value = value;
  }

  #pipeline({ commands }: Pipeline, dot: Value): Value {
    let value: Value;
    commands.forEach((command, stage) => {
      value = this.#command(command, dot, stage === 0 ? [] : [value]);
    });
    return value;
  }

  #command({ operands: [first, ...rest] }: Command, dot: Value, piped: readonly Value[]): Value {
    if (first.kind !== "function") return this.#operand(first, dot);
    // `and` and `or` look no further than they must.
    if (first.name === "and" || first.name === "or") {
      return this.#decide(first.name, rest, dot, piped);
    }
    const given = rest.map((operand) => this.#operand(operand, dot));
    return this.#call(first, [...given, ...piped]);
  }

  #decide(
    name: "and" | "or",
    operands: readonly Operand[],
    dot: Value,
    piped: readonly Value[],
  ): Value {
    let value: Value;
    for (const operand of operands) {
      value = this.#operand(operand, dot);
      if (isEmpty(value) === (name === "and")) return value;
    }
    return piped.length > 0 ? piped[0] : value;
  }

  #call(operand: Extract<Operand, { kind: "function" }>, given: readonly Value[]): Value {
    const made = this.#functions.get(operand.name);
    if (made === undefined) throw new TemplateError(`function "${operand.name}" is not known`);
    try {
      return made.call(given);
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      throw new TemplateError(
        `function "${operand.name}" at character ${operand.at}: ${error.message}`,
      );
    }
  }

  #operand(operand: Operand, dot: Value): Value {
    if (operand.kind === "literal") return operand.value;
    if (operand.kind === "function") return this.#call(operand, []);
    const start = this.#start(operand.from, dot);
    return operand.fields.reduce((value, name) => field(value, name, operand.at), start);
  }

  #start(from: Extract<Operand, { kind: "chain" }>["from"], dot: Value): Value {
    if (from === "dot") return dot;
    if ("commands" in from) return this.#pipeline(from, dot);
    return this.#variables.findLast(({ name }) => name === from.variable)?.value;
  }
}

function field(value: Value, name: string, at: number): Value {
  if (isDict(value)) {
    if (value.has(name)) return value.get(name);
    throw new TemplateError(`the map at character ${at} has no key ${JSON.stringify(name)}`);
  }
  if (typeof value === "object" && !isList(value) && Object.hasOwn(value, name)) {
    return (value as Fields)[name];
  }
  throw new TemplateError(
    `${kindOf(value)} at character ${at} has no field ${JSON.stringify(name)}`,
  );
}

/** What `range` runs over, with its index or key; the keys of a map in order. */
function itemsOf(value: Value): readonly (readonly [Value, Value])[] {
  if (isList(value)) return value.map((item, index) => [index, item] as const);
  if (isDict(value)) return [...value].sort(([a], [b]) => (a < b ? -1 : 1));
  throw new TemplateError(`range wants a list or a map, not ${kindOf(value)}`);
}
