/** Name constraints of a CA (RFC 5280 §4.2.1.10), for the kinds of names an X509-SVID carries. */
import { DerError, type DerReader, readDer, Tag } from "./der.ts";

const URI = 0x86;
const DNS = 0x82;

interface Names {
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
}

/**
 * What the constraints refuse about a certificate below them, or undefined. Constraints on kinds of names that we do not check
 * refuse everything: unknown limits are not ours to ignore.
 *
 * @param constraints the extension's value, DER
 * @throws DerError
 */
export function nameConstraintProblem(constraints: Uint8Array, names: Names): string | undefined {
  const reader = readDer(constraints, Tag.SEQUENCE);
  const permitted = reader.peek() === 0xa0 ? subtrees(reader.enter(0xa0)) : [];
  const excluded = reader.peek() === 0xa1 ? subtrees(reader.enter(0xa1)) : [];
  reader.end();
  if ([...permitted, ...excluded].some(({ kind }) => kind !== URI && kind !== DNS)) {
    return "name constraints of a kind that is not supported";
  }
  const all = [
    ...names.uriSans.map((uri) => ({ kind: URI, host: hostOf(uri), shown: uri })),
    ...names.dnsSans.map((dns) => ({ kind: DNS, host: dns.toLowerCase(), shown: dns })),
  ];
  for (const { kind, host, shown } of all) {
    const rules = permitted.filter((rule) => rule.kind === kind);
    const allowed = rules.length === 0 || rules.some((rule) => covers(rule, host));
    const denied = excluded.some((rule) => rule.kind === kind && covers(rule, host));
    if (!allowed || denied) return `name ${JSON.stringify(shown)} is outside the name constraints`;
  }
  return undefined;
}

interface Subtree {
  readonly kind: number;
  readonly base: string;
}

function subtrees(reader: DerReader): Subtree[] {
  const found: Subtree[] = [];
  while (!reader.done) {
    const base = reader.enter(Tag.SEQUENCE).next();
    if (base.content.some((octet) => octet > 0x7f))
      throw new DerError("name constraint is not ASCII");
    found.push({ kind: base.tag, base: new TextDecoder().decode(base.content).toLowerCase() });
  }
  return found;
}

function covers(rule: Subtree, host: string): boolean {
  if (rule.base === "") return true;
  if (rule.base.startsWith(".")) return host.endsWith(rule.base);
  // A URI constraint without a leading dot names one host; a DNS constraint covers what lies below as well.
  return host === rule.base || (rule.kind === DNS && host.endsWith(`.${rule.base}`));
}

function hostOf(uri: string): string {
  return (/^[a-z][a-z0-9+.-]*:\/\/(?:[^/@]*@)?([^/:?#]*)/i.exec(uri)?.[1] ?? "").toLowerCase();
}
