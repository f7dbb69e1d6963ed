import { type Flag, stringFlag } from "./flags.ts";
import { goQuote } from "./go-text.ts";
import type { Io } from "./io.ts";
import { protoJson, structJson } from "./proto-json.ts";

export type OutputFormat = "pretty" | "json";

/** The `-output` flag. Naming two different formats is an error, as it hides a mistake in a script. */
export function outputFlag(aliases: readonly string[] = []): Flag<OutputFormat> {
  return {
    ...stringFlag("How to print the result, pretty or json; pretty when not given."),
    valueName: "value",
    initial: "pretty",
    aliases,
    read: (text, before) => {
      if (before !== undefined && before !== text) {
        throw new Error(`the output format has already been set to ${goQuote(before)}`);
      }
      return readFormat(text);
    },
  };
}

function readFormat(text: string): OutputFormat {
  const lower = text.toLowerCase();
  if (lower === "json") return "json";
  if (lower === "pretty" || lower === "prettyprint") return "pretty";
  throw new Error(`bad formatter flag: unknown format option: ${goQuote(text)}`);
}

/**
 * Prints answers of an API: as JSON, one message as an object and several as an array, or by the command's own function,
 * which alone reports failed items as errors — as JSON they are results.
 */
export function printMessages(
  io: Io,
  format: OutputFormat,
  messages: readonly object[],
  pretty: () => void,
): void {
  if (format === "pretty") {
    pretty();
    return;
  }
  const lines = messages.map(protoJson);
  io.out(lines.length === 1 ? `${lines[0]}\n` : `[${lines.join(",")}]\n`);
}

/** Prints a result that is no message of an API; its JSON keeps the order of the keys. */
export function printStruct(io: Io, format: OutputFormat, value: object, pretty: () => void): void {
  if (format === "pretty") pretty();
  else io.out(`${structJson(value)}\n`);
}
