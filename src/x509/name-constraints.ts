/** Name constraints of a CA (RFC 5280 §4.2.1.10), for the kinds of names that are read from certificates. */
import { DerError, type DerReader, readDer, Tag } from "./der.ts";

const EMAIL = 0x81;
const DNS = 0x82;
const URI = 0x86;
const IP = 0x87;
const KINDS: readonly number[] = [EMAIL, DNS, URI, IP];

interface Names {
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly emailSans: readonly string[];
  readonly ipSans: readonly Uint8Array[];
}

/** A name as the constraints see it: what is compared is a host, a mailbox or an address. */
interface ConstrainedName {
  readonly kind: number;
  readonly value: string | Uint8Array;
  readonly shown: string;
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
  if ([...permitted, ...excluded].some(({ kind }) => !KINDS.includes(kind))) {
    return "name constraints of a kind that is not supported";
  }
  for (const name of allNames(names)) {
    const rules = permitted.filter((rule) => rule.kind === name.kind);
    const allowed = rules.length === 0 || rules.some((rule) => covers(rule, name.value));
    const denied = excluded.some((rule) => rule.kind === name.kind && covers(rule, name.value));
    if (!allowed || denied) {
      return `name ${JSON.stringify(name.shown)} is outside the name constraints`;
    }
  }
  return undefined;
}

function allNames({ uriSans, dnsSans, emailSans, ipSans }: Names): ConstrainedName[] {
  return [
    ...uriSans.map((uri) => ({ kind: URI, value: hostOf(uri), shown: uri })),
    ...dnsSans.map((dns) => ({ kind: DNS, value: dns.toLowerCase(), shown: dns })),
    ...emailSans.map((email) => ({ kind: EMAIL, value: mailbox(email), shown: email })),
    ...ipSans.map((ip) => ({ kind: IP, value: ip, shown: ip.join(ip.length === 4 ? "." : ":") })),
  ];
}

interface Subtree {
  readonly kind: number;
  /** Lowercase; for an IP constraint the address and the mask behind it. */
  readonly base: string | Uint8Array;
}

function subtrees(reader: DerReader): Subtree[] {
  const found: Subtree[] = [];
  while (!reader.done) {
    const { tag: kind, content } = reader.enter(Tag.SEQUENCE).next();
    found.push({ kind, base: kind === IP ? addressRange(content) : constraintText(kind, content) });
  }
  return found;
}

function addressRange(content: Uint8Array): Uint8Array {
  if (content.length !== 8 && content.length !== 32) {
    throw new DerError(`IP constraint of ${content.length} bytes`);
  }
  return content;
}

function constraintText(kind: number, content: Uint8Array): string {
  if (content.some((octet) => octet > 0x7f)) throw new DerError("name constraint is not ASCII");
  const text = new TextDecoder().decode(content);
  return kind === EMAIL && text.includes("@") ? mailbox(text) : text.toLowerCase();
}

function covers({ kind, base }: Subtree, value: string | Uint8Array): boolean {
  if (typeof base === "string") return typeof value === "string" && coversText(kind, base, value);
  return typeof value !== "string" && coversAddress(base, value);
}

function coversText(kind: number, base: string, value: string): boolean {
  if (base === "") return true;
  if (kind === EMAIL && base.includes("@")) return value === base;
  const host = kind === EMAIL ? value.slice(value.lastIndexOf("@") + 1) : value;
  if (base.startsWith(".")) return host.endsWith(base);
  // A constraint on URIs or mailboxes without a leading dot names one host; one on DNS names covers what lies below as well.
  return host === base || (kind === DNS && host.endsWith(`.${base}`));
}

function coversAddress(range: Uint8Array, address: Uint8Array): boolean {
  const size = range.length / 2;
  return (
    address.length === size &&
    address.every((octet, at) => ((octet ^ (range[at] ?? 0)) & (range[size + at] ?? 0)) === 0)
  );
}

function hostOf(uri: string): string {
  return (/^[a-z][a-z0-9+.-]*:\/\/(?:[^/@]*@)?([^/:?#]*)/i.exec(uri)?.[1] ?? "").toLowerCase();
}

/** RFC 5280 §7.5: the host compares without regard to case, the local part with. */
function mailbox(email: string): string {
  const at = email.lastIndexOf("@");
  return email.slice(0, at + 1) + email.slice(at + 1).toLowerCase();
}
