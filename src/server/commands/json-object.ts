import { parseDuration } from "#config/duration.ts";

/** A JSON object from a file a person wrote: keys in any case, absent and null as zero values, wrong types refused by name. */
export class JsonObject {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #where: string;

  private constructor(value: unknown, where: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Error(`json: ${where === "" ? "the document" : where} must be an object`);
    }
    const fields = Object.entries(value).filter(([, inner]) => inner !== null);
    this.#fields = new Map(fields.map(([key, inner]) => [key.toLowerCase(), inner]));
    this.#where = where;
  }

  /** @throws Error when the text is not JSON or not an object */
  static parse(text: string): JsonObject {
    if (text.trim() === "") throw new Error("unexpected end of JSON input");
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new Error(`json: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    return new JsonObject(value, "");
  }

  /** Whatever JSON there is; undefined when there is none. */
  value(key: string): unknown {
    return this.#fields.get(key);
  }

  text(key: string): string {
    const value = this.#fields.get(key) ?? "";
    if (typeof value !== "string") throw this.#refusal(key, "a string");
    return value;
  }

  /** A whole number. */
  number(key: string): number {
    const value = this.#fields.get(key) ?? 0;
    if (typeof value !== "number" || !Number.isSafeInteger(value)) {
      throw this.#refusal(key, "a whole number");
    }
    return value;
  }

  /** The same, also as a text: so the JSON of an API has numbers of 64 bits. */
  number64(key: string): number {
    const value = this.#fields.get(key);
    const isText = typeof value === "string" && /^-?\d+$/.test(value);
    return isText ? Number(value) : this.number(key);
  }

  /** Whole seconds, as a number or as a duration such as `1h30m`. */
  seconds(key: string): number {
    const value = this.#fields.get(key);
    if (typeof value !== "string" || !/[hms]$/.test(value)) return this.number(key);
    try {
      return Math.ceil(parseDuration(value));
    } catch {
      throw this.#refusal(key, "a whole number of seconds, or a duration such as 1h30m");
    }
  }

  flag(key: string): boolean {
    const value = this.#fields.get(key) ?? false;
    if (typeof value !== "boolean") throw this.#refusal(key, "true or false");
    return value;
  }

  strings(key: string): string[] {
    return this.#list(key).map((value, index) => {
      if (typeof value !== "string") throw this.#refusal(`${key}[${index}]`, "a string");
      return value;
    });
  }

  objects(key: string): JsonObject[] {
    return this.#list(key).map(
      (value, index) => new JsonObject(value, this.#name(`${key}[${index}]`)),
    );
  }

  /** Undefined when there is none. */
  object(key: string): JsonObject | undefined {
    const value = this.#fields.get(key);
    return value === undefined ? undefined : new JsonObject(value, this.#name(key));
  }

  #list(key: string): readonly unknown[] {
    const value = this.#fields.get(key) ?? [];
    if (!Array.isArray(value)) throw this.#refusal(key, "a list");
    return value;
  }

  #name(key: string): string {
    return this.#where === "" ? key : `${this.#where}.${key}`;
  }

  #refusal(key: string, expected: string): Error {
    return new Error(`json: ${this.#name(key)} must be ${expected}`);
  }
}
