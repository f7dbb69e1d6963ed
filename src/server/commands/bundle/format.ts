import { type Flag, stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";

export type BundleFormat = "pem" | "spiffe";

/** The -format flag. @param help what the format is of */
export function formatFlag(help: string): Flag<string> {
  return stringFlag(`${help}, "pem" or "spiffe"`, "pem");
}

/** Reads a format, in any case; the empty text is the default. @throws Error */
export function bundleFormat(text: string): BundleFormat {
  const lower = text.toLowerCase();
  if (lower === "" || lower === "pem") return "pem";
  if (lower === "spiffe") return "spiffe";
  throw new Error(`invalid format: ${goQuote(lower)}`);
}
