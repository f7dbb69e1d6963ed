/** Go's template syntax, second step: a tree. Whatever can be known to fail before it runs is refused here, with its place. */
import type { Functions } from "./functions.ts";
import { lex, type Piece, type Token } from "./lexer.ts";
import { TemplateError, type Value } from "./values.ts";

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly pipeline: Pipeline }
  | {
      readonly kind: "if" | "with" | "range";
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

export interface Pipeline {
  /** Names with their `$`: one, or two for `range`. */
  readonly variables: readonly string[];
  /** Whether they are new (`:=`), or get another value (`=`). */
  readonly declares: boolean;
  readonly commands: readonly Command[];
}

/** An operand, or a function with its arguments. */
export interface Command {
  readonly operands: readonly [Operand, ...Operand[]];
}

export type Operand =
  | { readonly kind: "literal"; readonly value: Value }
  | { readonly kind: "function"; readonly name: string; readonly at: number }
  | {
      readonly kind: "chain";
      /** `dot`, a variable, or a pipeline in parentheses. */
      readonly from: "dot" | Pipeline | { readonly variable: string };
      readonly fields: readonly string[];
      readonly at: number;
    };

export interface ParseOptions {
  readonly functions: Functions;
  /** The fields of what the template is given. */
  readonly fields: readonly string[];
}

/** @throws TemplateError */
export function parse(template: string, options: ParseOptions): Node[] {
  const parser = new Parser(lex(template), options);
  const nodes = parser.list();
  parser.expectNothing();
  return nodes;
}

const REFUSED = ["define", "template", "block", "break", "continue"];
const ENDS = ["end", "else"];

class Parser {
  readonly #pieces: readonly Piece[];
  readonly #options: ParseOptions;
  #next = 0;
  readonly #variables: string[] = ["$"];
  /** Whether `.` is what the template is given, as everywhere outside of `with` and `range`. */
  #dotIsRoot = true;

  constructor(pieces: readonly Piece[], options: ParseOptions) {
    this.#pieces = pieces;
    this.#options = options;
  }

  /** The nodes up to the next `end` or `else`, or to the end of the template. */
  list(): Node[] {
    const nodes: Node[] = [];
    for (let piece = this.#peek(); piece !== undefined; piece = this.#peek()) {
      if (piece.kind === "text") nodes.push(piece);
      else if (ENDS.includes(keyword(piece))) break;
      else {
        this.#next++;
        nodes.push(this.#action(piece.tokens, piece.at));
        continue;
      }
      this.#next++;
    }
    return nodes;
  }

  expectNothing(): void {
    const piece = this.#peek();
    if (piece?.kind !== "action") return;
    throw new TemplateError(`unexpected {{${keyword(piece)}}} at character ${piece.at}`);
  }

  #peek(): Piece | undefined {
    return this.#pieces[this.#next];
  }

  #action(tokens: readonly Token[], at: number): Node {
    const [first] = tokens;
    const word = first?.kind === "word" ? first.text : "";
    if (REFUSED.includes(word)) {
      throw new TemplateError(`{{${word}}} at character ${at} is not supported`);
    }
    if (word === "if" || word === "with" || word === "range") {
      return this.#control(word, tokens.slice(1), at);
    }
    return { kind: "print", pipeline: this.#pipeline(tokens, at, 1) };
  }

  #control(kind: "if" | "with" | "range", tokens: readonly Token[], at: number): Node {
    const scope = this.#variables.length;
    const dotIsRoot = this.#dotIsRoot;
    const pipeline = this.#pipeline(tokens, at, kind === "range" ? 2 : 1);
    const inner = this.#variables.length;
    this.#dotIsRoot &&= kind === "if";
    const body = this.list();
    this.#dotIsRoot = dotIsRoot;
    this.#variables.length = inner;
    const otherwise = this.#otherwise(kind, at);
    this.#variables.length = scope;
    return { kind, pipeline, body, otherwise };
  }

  /** What follows `else`, up to and with the `end`; `else if` is an `if` of its own in there. */
  #otherwise(kind: string, at: number): Node[] {
    const piece = this.#pieces[this.#next++];
    if (piece?.kind !== "action") {
      throw new TemplateError(`{{${kind}}} at character ${at} has no {{end}}`);
    }
    const [word, ...rest] = piece.tokens;
    if (word?.text === "end") {
      if (rest.length > 0) throw unexpected(rest[0]);
      return [];
    }
    const [second] = rest;
    if (second?.text === "if" || second?.text === "with") {
      return [this.#control(second.text, rest.slice(1), piece.at)];
    }
    if (rest.length > 0) throw unexpected(rest[0]);
    const nodes = this.list();
    const end = this.#pieces[this.#next++];
    if (end?.kind === "action" && keyword(end) === "end") return nodes;
    throw new TemplateError(`{{else}} at character ${piece.at} has no {{end}}`);
  }

  #pipeline(tokens: readonly Token[], at: number, maxVariables: number): Pipeline {
    const variables: string[] = [];
    const sign = tokens.findIndex(({ text, kind }) => kind === "sign" && /=$/.test(text));
    for (const token of tokens.slice(0, Math.max(sign, 0))) {
      if (token.kind === "sign" && token.text === ",") continue;
      if (token.kind !== "variable" || token.text === "$") throw unexpected(token);
      variables.push(token.text);
    }
    if (variables.length > maxVariables) throw unexpected(tokens[sign]);
    const declares = tokens[sign]?.text === ":=";
    const reader = new TokenReader(tokens.slice(sign + 1), at);
    const commands = this.#commands(reader);
    if (reader.peek() !== undefined) throw unexpected(reader.peek());
    if (declares) this.#variables.push(...variables);
    else for (const name of variables) this.#checkVariable(name, tokens[0]?.at ?? at);
    return { variables, declares, commands };
  }

  #commands(reader: TokenReader): Command[] {
    const commands = [this.#command(reader, 0)];
    while (reader.peek()?.text === "|" && reader.peek()?.kind === "sign") {
      reader.next();
      commands.push(this.#command(reader, 1));
    }
    return commands;
  }

  /** @param piped how many arguments come from the command before */
  #command(reader: TokenReader, piped: number): Command {
    const first = this.#operand(reader);
    const operands: [Operand, ...Operand[]] = [first];
    const place = reader.place;
    while (reader.startsOperand()) operands.push(this.#operand(reader));
    const given = operands.length - 1 + piped;
    if (first.kind === "function") this.#checkArguments(first.name, first.at, given);
    else if (given > 0) {
      throw new TemplateError(`what stands before character ${place} is not a function`);
    }
    for (const operand of operands.slice(1)) {
      if (operand.kind === "function") this.#checkArguments(operand.name, operand.at, 0);
    }
    return { operands };
  }

  #checkArguments(name: string, at: number, given: number): void {
    const problem = this.#options.functions.get(name)?.countProblem(given);
    if (problem !== undefined) {
      throw new TemplateError(`function "${name}" at character ${at} ${problem}`);
    }
  }

  #operand(reader: TokenReader): Operand {
    const token = reader.next();
    const { kind, text, at } = token;
    switch (kind) {
      case "string":
        return { kind: "literal", value: text };
      case "number":
        return { kind: "literal", value: wholeNumber(text, at) };
      case "word":
        return this.#word(text, at);
      case "variable":
        this.#checkVariable(text, at);
        return this.#chain({ variable: text }, reader.fields(), at, text === "$");
      case "dot":
        return { kind: "chain", from: "dot", fields: [], at };
      case "field":
        return this.#chain("dot", [text, ...reader.fields()], at, this.#dotIsRoot);
      case "sign":
        return this.#parenthesised(token, reader);
    }
  }

  #word(name: string, at: number): Operand {
    if (name === "true" || name === "false") return { kind: "literal", value: name === "true" };
    if (name === "nil") return { kind: "literal", value: undefined };
    if (this.#options.functions.has(name)) return { kind: "function", name, at };
    throw new TemplateError(`function "${name}" at character ${at} is not known`);
  }

  #parenthesised(token: Token, reader: TokenReader): Operand {
    if (token.text !== "(") throw unexpected(token);
    const commands = this.#commands(reader);
    const close = reader.next();
    if (close.kind !== "sign" || close.text !== ")") throw unexpected(close);
    const from: Pipeline = { variables: [], declares: false, commands };
    return { kind: "chain", from, fields: reader.fields(), at: token.at };
  }

  #chain(
    from: "dot" | { readonly variable: string },
    fields: readonly string[],
    at: number,
    isRoot: boolean,
  ): Operand {
    const [first] = fields;
    if (isRoot && first !== undefined && !this.#options.fields.includes(first)) {
      throw new TemplateError(
        `field ".${first}" at character ${at} is not known; use one of ${this.#options.fields.join(", ")}`,
      );
    }
    return { kind: "chain", from, fields, at };
  }

  #checkVariable(name: string, at: number): void {
    if (this.#variables.includes(name)) return;
    throw new TemplateError(`variable "${name}" at character ${at} is not defined`);
  }
}

class TokenReader {
  readonly #tokens: readonly Token[];
  readonly #start: number;
  #at = 0;

  constructor(tokens: readonly Token[], start: number) {
    this.#tokens = tokens;
    this.#start = start;
  }

  /** Where the next token stands, or the action when there is none. */
  get place(): number {
    return this.peek()?.at ?? this.#start;
  }

  peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  next(): Token {
    const token = this.#tokens[this.#at++];
    if (token !== undefined) return token;
    throw new TemplateError(`a value is missing in the action at character ${this.#start}`);
  }

  /** Fields that follow without a blank. */
  fields(): string[] {
    const names: string[] = [];
    for (let token = this.peek(); token?.kind === "field" && !token.apart; token = this.peek()) {
      names.push(token.text);
      this.#at++;
    }
    return names;
  }

  startsOperand(): boolean {
    const token = this.peek();
    return token !== undefined && (token.kind !== "sign" || token.text === "(");
  }
}

function keyword(piece: Piece): string {
  const [first] = piece.kind === "action" ? piece.tokens : [];
  return first?.kind === "word" ? first.text : "";
}

function wholeNumber(text: string, at: number): number {
  const number = /^[+-]?(0|[1-9]\d*)$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new TemplateError(`number ${text} at character ${at} is not a whole decimal number`);
}

function unexpected(token: Token | undefined): TemplateError {
  return new TemplateError(
    `unexpected ${JSON.stringify(token?.text ?? "")} at character ${token?.at ?? 1}`,
  );
}
