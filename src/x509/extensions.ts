/** Certificate extensions: read into plain values, written as DER. */
import { DerError, DerReader, der, derOid, oidText, readDer, Tag } from "./der.ts";
import { Oid } from "./oid.ts";

/** KeyUsage bits by their number (RFC 5280 §4.2.1.3). */
export const KeyUsage = {
  digitalSignature: 1,
  contentCommitment: 2,
  keyEncipherment: 4,
  dataEncipherment: 8,
  keyAgreement: 16,
  keyCertSign: 32,
  cRLSign: 64,
} as const;

/** What the extensions of a certificate or a request say. */
export interface Extensions {
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly emailSans: readonly string[];
  /** In network order: 4 or 16 bytes each. */
  readonly ipSans: readonly Uint8Array[];
  readonly basicConstraints: { readonly isCa: boolean; readonly pathLength?: number } | undefined;
  /** A sum of KeyUsage bits. */
  readonly keyUsage: number | undefined;
  readonly extKeyUsage: readonly string[];
  readonly subjectKeyId: Uint8Array | undefined;
  readonly authorityKeyId: Uint8Array | undefined;
  /** DER of the name constraints, which the chain check interprets. */
  readonly nameConstraints: Uint8Array | undefined;
  /** Critical extensions that nobody here understands; a chain with one is refused (RFC 5280 §4.2). */
  readonly unknownCritical: readonly string[];
}

type Draft = { -readonly [K in keyof Extensions]: Extensions[K] };

export const NO_EXTENSIONS: Extensions = {
  uriSans: [],
  dnsSans: [],
  emailSans: [],
  ipSans: [],
  basicConstraints: undefined,
  keyUsage: undefined,
  extKeyUsage: [],
  subjectKeyId: undefined,
  authorityKeyId: undefined,
  nameConstraints: undefined,
  unknownCritical: [],
};

/** Reads the content of an Extensions SEQUENCE. @throws DerError also when an extension appears twice (RFC 5280 §4.2) */
export function readExtensions(list: DerReader): Extensions {
  const draft: Draft = { ...NO_EXTENSIONS };
  const seen = new Set<string>();
  const unknown: string[] = [];
  while (!list.done) {
    const one = list.enter(Tag.SEQUENCE);
    const oid = oidText(one.next(Tag.OID).content);
    const critical = readBoolean(one);
    const value = one.next(Tag.OCTET_STRING).content;
    one.end();
    if (seen.has(oid)) throw new DerError(`extension ${oid} appears twice`);
    seen.add(oid);
    if (!readKnown(draft, oid, value) && critical) unknown.push(oid);
  }
  draft.unknownCritical = unknown;
  return draft;
}

function readKnown(draft: Draft, oid: string, value: Uint8Array): boolean {
  switch (oid) {
    case Oid.subjectAltName:
      return readSubjectAltName(draft, readDer(value, Tag.SEQUENCE));
    case Oid.basicConstraints:
      draft.basicConstraints = readBasicConstraints(readDer(value, Tag.SEQUENCE));
      return true;
    case Oid.keyUsage:
      draft.keyUsage = readKeyUsage(value);
      return true;
    case Oid.extKeyUsage:
      draft.extKeyUsage = readOids(readDer(value, Tag.SEQUENCE));
      return true;
    case Oid.subjectKeyIdentifier:
      draft.subjectKeyId = readDerContent(value, Tag.OCTET_STRING);
      return true;
    case Oid.authorityKeyIdentifier:
      draft.authorityKeyId = readDer(value, Tag.SEQUENCE).optional(0x80)?.content;
      return true;
    case Oid.nameConstraints:
      draft.nameConstraints = value;
      return true;
    // Policies carry no weight in SPIFFE; a certificate may still name some, and where its revocation list lies.
    case Oid.certificatePolicies:
    case Oid.crlDistributionPoints:
      return true;
    default:
      return false;
  }
}

function readBoolean(reader: DerReader): boolean {
  const flag = reader.optional(Tag.BOOLEAN);
  if (flag === undefined) return false;
  // X.690 §11.1: true is 0xff; and §11.5: a default (false) is not written, but issuers did.
  const [octet] = flag.content;
  if (flag.content.length !== 1 || (octet !== 0xff && octet !== 0)) {
    throw new DerError("boolean is not DER");
  }
  return octet === 0xff;
}

/** @returns false when it holds no name of a kind read here, so that a critical one is refused (RFC 5280 §4.2) */
function readSubjectAltName(draft: Draft, names: DerReader): boolean {
  const uris: string[] = [];
  const dns: string[] = [];
  const emails: string[] = [];
  const addresses: Uint8Array[] = [];
  while (!names.done) {
    const { tag, content } = names.next();
    if (tag === 0x86) uris.push(ia5Text(content));
    else if (tag === 0x82) dns.push(ia5Text(content));
    else if (tag === 0x81) emails.push(ia5Text(content));
    else if (tag === 0x87) addresses.push(ipAddress(content));
  }
  draft.uriSans = uris;
  draft.dnsSans = dns;
  draft.emailSans = emails;
  draft.ipSans = addresses;
  return uris.length + dns.length + emails.length + addresses.length > 0;
}

/** RFC 5280 §4.2.1.6: four octets for IPv4, sixteen for IPv6. */
function ipAddress(content: Uint8Array): Uint8Array {
  if (content.length !== 4 && content.length !== 16) {
    throw new DerError(`IP address of ${content.length} bytes`);
  }
  return content;
}

function ia5Text(content: Uint8Array): string {
  if (content.some((octet) => octet > 0x7f)) throw new DerError("name is not ASCII");
  return new TextDecoder().decode(content);
}

function readBasicConstraints(reader: DerReader): { isCa: boolean; pathLength?: number } {
  const isCa = readBoolean(reader);
  const length = reader.optional(Tag.INTEGER)?.content;
  reader.end();
  if (length === undefined) return { isCa };
  if (length.length === 0 || length.length > 4 || (length[0] ?? 0x80) > 0x7f) {
    throw new DerError("path length is out of range");
  }
  return { isCa, pathLength: length.reduce((number, octet) => number * 256 + octet, 0) };
}

function readKeyUsage(value: Uint8Array): number {
  const bits = readDerContent(value, Tag.BIT_STRING);
  let usage = 0;
  for (let bit = 0; bit < 9 && 1 + (bit >> 3) < bits.length; bit++) {
    if (((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) usage |= 1 << bit;
  }
  return usage;
}

function readOids(reader: DerReader): string[] {
  const oids: string[] = [];
  while (!reader.done) oids.push(oidText(reader.next(Tag.OID).content));
  return oids;
}

function readDerContent(value: Uint8Array, tag: number): Uint8Array {
  const reader = new DerReader(value);
  const content = reader.next(tag).content;
  reader.end();
  return content;
}

/** One Extension: OID, criticality, value. */
function derExtension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [der(Tag.BOOLEAN, Uint8Array.of(0xff))] : [];
  return der(Tag.SEQUENCE, derOid(oid), ...flag, der(Tag.OCTET_STRING, value));
}

/** @param usage a sum of KeyUsage bits below 8 */
export function keyUsageExtension(usage: number): Uint8Array {
  let octet = 0;
  for (let bit = 0; bit < 8; bit++) if ((usage & (1 << bit)) !== 0) octet |= 0x80 >> bit;
  let unused = 0;
  while (unused < 7 && ((octet >> unused) & 1) === 0) unused++;
  return derExtension(Oid.keyUsage, true, der(Tag.BIT_STRING, Uint8Array.of(unused, octet)));
}

export function extKeyUsageExtension(...oids: readonly string[]): Uint8Array {
  return derExtension(Oid.extKeyUsage, false, der(Tag.SEQUENCE, ...oids.map(derOid)));
}

export function basicConstraintsExtension(isCa: boolean): Uint8Array {
  const flag = isCa ? [der(Tag.BOOLEAN, Uint8Array.of(0xff))] : [];
  return derExtension(Oid.basicConstraints, true, der(Tag.SEQUENCE, ...flag));
}

export function subjectKeyIdExtension(keyId: Uint8Array): Uint8Array {
  return derExtension(Oid.subjectKeyIdentifier, false, der(Tag.OCTET_STRING, keyId));
}

export function authorityKeyIdExtension(keyId: Uint8Array): Uint8Array {
  return derExtension(Oid.authorityKeyIdentifier, false, der(Tag.SEQUENCE, der(0x80, keyId)));
}

/** URI first, then DNS names, as the reference orders them. Critical only where there is no subject (RFC 5280 §4.2.1.6). */
export function subjectAltNameExtension(
  uri: string | undefined,
  dnsNames: readonly string[],
  critical: boolean,
): Uint8Array {
  const names = dnsNames.map((name) => der(0x82, Buffer.from(name)));
  if (uri !== undefined) names.unshift(der(0x86, Buffer.from(uri)));
  return derExtension(Oid.subjectAltName, critical, der(Tag.SEQUENCE, ...names));
}
