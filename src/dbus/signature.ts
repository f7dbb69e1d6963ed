/** Signatures of D-Bus types, taken apart (D-Bus Specification, "Type System"). */
import { DbusFormatError } from "./format-error.ts";

const BASIC = "ybnqiuxtdsogh";
const LONGEST_SIGNATURE = 255;
/** The specification allows 32 arrays and 32 structures in one another. */
const DEEPEST = 32;

/** What each value of a type starts at a multiple of, in bytes. */
const ALIGNMENTS: Readonly<Record<string, number>> = {
  y: 1,
  g: 1,
  v: 1,
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  h: 4,
  s: 4,
  o: 4,
  a: 4,
  x: 8,
  t: 8,
  d: 8,
  "(": 8,
  "{": 8,
};

export function alignmentOf(type: string): number {
  return ALIGNMENTS[type[0] ?? ""] ?? 1;
}

/** The single complete types of a signature, in order. @throws DbusFormatError when it is none */
export function completeTypes(signature: string): string[] {
  if (signature.length > LONGEST_SIGNATURE) throw new DbusFormatError("a signature is too long");
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at, 0);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

/** Where the type that begins there ends. */
function endOfType(signature: string, at: number, depth: number): number {
  if (depth > DEEPEST) throw new DbusFormatError("a signature is nested too deeply");
  const code = signature[at] ?? "";
  if (code === "v" || (code !== "" && BASIC.includes(code))) return at + 1;
  if (code === "(") return endOfMembers(signature, at + 1, ")", depth);
  if (code !== "a") throw new DbusFormatError("a signature has an unknown type");
  if (signature[at + 1] !== "{") return endOfType(signature, at + 1, depth + 1);
  // A dictionary's entry has a basic key and one value, and is found in arrays alone.
  const key = signature[at + 2] ?? "";
  if (key === "" || !BASIC.includes(key)) throw new DbusFormatError("a dictionary has no key");
  const end = endOfType(signature, at + 3, depth + 1);
  if (signature[end] !== "}") throw new DbusFormatError("a dictionary has no end");
  return end + 1;
}

function endOfMembers(signature: string, from: number, close: string, depth: number): number {
  let at = from;
  while (signature[at] !== close) at = endOfType(signature, at, depth + 1);
  if (at === from) throw new DbusFormatError("a structure is empty");
  return at + 1;
}
