/**
 * The DNS names an SVID may carry: labels of letters, digits, inner dashes (RFC 1123 §2.1) and underscores, which names of services and of
 * old hosts have; one wildcard at most, as the whole first label (RFC 6125 §6.4.3). They are written as they were given: case does not
 * matter to who compares them (RFC 4343 §2).
 */

const MAX_NAME_BYTES = 253;
const LABEL = /^\w([\w-]{0,61}\w)?$/;

/** What is wrong with a DNS name, or undefined. An internationalised label must come in its ASCII form, `xn--…`, in lowercase. */
export function dnsNameProblem(name: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII starts with them
  if (!/^[\x00-\x7f]*$/.test(name)) return "name must be ascii";
  const stars = name.split("*").length - 1;
  if (stars > 1) return "too many wildcards";
  if (stars === 1 && !name.startsWith("*.")) return "wildcard must be first label";
  const base = stars === 1 ? name.slice(2) : name;
  if (base.trim() === "") return "empty or only whitespace";
  if (base.endsWith(".")) return "domain ends with dot";
  if (base.length > MAX_NAME_BYTES)
    return `idna error: name is longer than ${MAX_NAME_BYTES} bytes`;
  for (const label of base.split(".")) {
    const problem = labelProblem(label);
    if (problem !== undefined) return `idna error: ${problem}`;
  }
  return undefined;
}

function labelProblem(label: string): string | undefined {
  if (!LABEL.test(label)) return `invalid label ${JSON.stringify(label)}`;
  // RFC 5891 §4.2.3.1 keeps dashes in the third and fourth place for encoded labels, of which only xn-- exists.
  if (label.slice(2, 4) === "--" && !label.startsWith("xn--")) {
    return `invalid label ${JSON.stringify(label)}`;
  }
  return undefined;
}

/** A name that a wildcard of the same list covers already, or undefined. */
export function wildcardOverlap(names: readonly string[]): string | undefined {
  const all = new Set(names);
  return names.find((name) => {
    if (name.startsWith("*")) return false;
    const dot = name.indexOf(".");
    return dot !== -1 && all.has(`*${name.slice(dot)}`);
  });
}
