/** Go's printf, for the verbs that make sense of strings, whole numbers and truths. */
import { printed, TemplateError, type Value } from "./values.ts";

const VERB = /%([-+# 0]*)(\d*)(?:\.(\d*))?(.?)/gs;
const MAX_WIDTH = 1024;

/** @throws TemplateError for a verb that does not fit its value, or is not known here */
export function formatted(format: string, values: readonly Value[]): string {
  let used = 0;
  const text = format.replace(
    VERB,
    (_all, flags: string, width: string, precision, verb: string) => {
      if (verb === "%") return "%";
      if (verb === "") throw new TemplateError("the format ends within a verb");
      if (used >= values.length) throw new TemplateError(`there is no value for %${verb}`);
      const body = converted(verb, values[used++], precision);
      return padded(body, flags, Math.min(Number(width), MAX_WIDTH));
    },
  );
  if (used < values.length) throw new TemplateError("there are more values than verbs");
  return text;
}

function padded(text: string, flags: string, width: number): string {
  if (flags.replace(/[-0]/g, "") !== "") {
    throw new TemplateError(`the flags "${flags}" are not supported`);
  }
  if (flags.includes("-")) return text.padEnd(width);
  if (!flags.includes("0")) return text.padStart(width);
  const sign = text.startsWith("-") ? "-" : "";
  return sign + text.slice(sign.length).padStart(width - sign.length, "0");
}

function converted(verb: string, value: Value, precision: string | undefined): string {
  if (typeof value === "string") {
    const end = precision === undefined ? undefined : Number(precision);
    return textAs(verb, Array.from(value).slice(0, end).join(""));
  }
  if (precision !== undefined) throw new TemplateError("a precision fits strings only");
  if (verb === "v") return printed(value);
  if (typeof value === "number" || typeof value === "bigint") return inBase(verb, value);
  if (verb === "t" && typeof value === "boolean") return String(value);
  throw unfit(verb);
}

function textAs(verb: string, text: string): string {
  switch (verb) {
    case "v":
    case "s":
      return text;
    case "q":
      return quoted(text);
    case "x":
      return Buffer.from(text).toString("hex");
    case "X":
      return Buffer.from(text).toString("hex").toUpperCase();
    default:
      throw unfit(verb);
  }
}

function unfit(verb: string): TemplateError {
  return new TemplateError(`%${verb} does not fit its value, or is not supported`);
}

function inBase(verb: string, value: number | bigint): string {
  switch (verb) {
    case "d":
      return value.toString();
    case "x":
      return value.toString(16);
    case "X":
      return value.toString(16).toUpperCase();
    case "o":
      return value.toString(8);
    case "b":
      return value.toString(2);
    default:
      throw unfit(verb);
  }
}

/**
 * As Go quotes a string of printable ASCII.
 *
 * @throws TemplateError for anything else
 */
export function quoted(text: string): string {
  if (!/^[ -~]*$/.test(text)) throw new TemplateError("only printable ASCII can be quoted");
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
