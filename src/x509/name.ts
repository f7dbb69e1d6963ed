/** Distinguished names: written as DER, shown the way the reference's tools show them. */
import { type DerElement, DerError, DerReader, der, derOid, oidText, readDer, Tag } from "./der.ts";
import { Oid } from "./oid.ts";

export interface NameFields {
  readonly country?: readonly string[];
  readonly organization?: readonly string[];
  readonly organizationalUnit?: readonly string[];
  readonly commonName?: string;
  readonly serialNumber?: string;
}

/** A Name in the order country, organization, unit, common name, serial number. Values of one kind share a set, as the reference writes them. */
export function encodeName(fields: NameFields): Uint8Array {
  const sets: Uint8Array[] = [];
  const add = (oid: string, values: readonly string[]): void => {
    if (values.length === 0) return;
    const attributes = values.map((value) => der(Tag.SEQUENCE, derOid(oid), nameString(value)));
    // X.690 §11.6: the members of a SET OF are sorted by their encoding.
    attributes.sort((a, b) => Buffer.compare(a, b));
    sets.push(der(Tag.SET, ...attributes));
  };
  add(Oid.country, fields.country ?? []);
  add(Oid.organization, fields.organization ?? []);
  add(Oid.organizationalUnit, fields.organizationalUnit ?? []);
  add(Oid.commonName, fields.commonName ? [fields.commonName] : []);
  add(Oid.serialNumber, fields.serialNumber ? [fields.serialNumber] : []);
  return der(Tag.SEQUENCE, ...sets);
}

function nameString(value: string): Uint8Array {
  const printable = /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value);
  return der(printable ? Tag.PRINTABLE_STRING : Tag.UTF8_STRING, new TextEncoder().encode(value));
}

export interface NameAttribute {
  readonly oid: string;
  readonly value: string;
}

/** The attributes of a Name, in order. @throws DerError also for a value that is no string or not in its character set */
export function nameAttributes(nameDer: Uint8Array): NameAttribute[] {
  const sets = readDer(nameDer, Tag.SEQUENCE);
  const found: NameAttribute[] = [];
  while (!sets.done) {
    const set = sets.enter(Tag.SET);
    while (!set.done) {
      const attribute = set.enter(Tag.SEQUENCE);
      const oid = oidText(attribute.next(Tag.OID).content);
      found.push({ oid, value: nameValue(attribute.next()) });
      attribute.end();
    }
  }
  return found;
}

/** X.680 §41: the character sets that names are written in. What is called T.61 is Latin-1 in practice. */
function nameValue({ tag, content }: DerElement): string {
  const ascii = content.every((octet) => octet < 0x80);
  switch (tag) {
    case Tag.PRINTABLE_STRING:
    case Tag.IA5_STRING:
    case Tag.NUMERIC_STRING:
      if (!ascii) throw new DerError("name is not ASCII");
      return new TextDecoder().decode(content);
    case Tag.UTF8_STRING:
      return fromUtf8(content);
    case Tag.T61_STRING:
      return Buffer.from(content).toString("latin1");
    case Tag.BMP_STRING:
      return fromBmp(content);
    default:
      throw new DerError("name is of a kind of string that is not supported");
  }
}

function fromUtf8(content: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new DerError("name is not UTF-8");
  }
}

/** Two octets a character; without surrogates, which the character set does not have. */
function fromBmp(content: Uint8Array): string {
  if (content.length % 2 !== 0) throw new DerError("name is cut within a character");
  const text = Buffer.from(content).swap16().toString("utf16le");
  if (/[\ud800-\udfff]/.test(text)) throw new DerError("name is not in the basic plane");
  return text;
}

const SHORT_NAMES: Readonly<Record<string, string>> = {
  [Oid.commonName]: "CN",
  [Oid.serialNumber]: "SERIALNUMBER",
  [Oid.country]: "C",
  [Oid.locality]: "L",
  [Oid.province]: "ST",
  [Oid.street]: "STREET",
  [Oid.organization]: "O",
  [Oid.organizationalUnit]: "OU",
  [Oid.postalCode]: "POSTALCODE",
};

/** The name as text, last part first (RFC 2253): `O=SPIRE,C=US`. @throws DerError */
export function nameText(nameDer: Uint8Array): string {
  const sets = readDer(nameDer, Tag.SEQUENCE);
  const parts: string[] = [];
  while (!sets.done) {
    const set = sets.enter(Tag.SET);
    const values: string[] = [];
    while (!set.done) values.push(attributeText(set.next(Tag.SEQUENCE).content));
    parts.unshift(values.join("+"));
  }
  return parts.join(",");
}

function attributeText(content: Uint8Array): string {
  const reader = new DerReader(content);
  const oid = oidText(reader.next(Tag.OID).content);
  return `${SHORT_NAMES[oid] ?? oid}=${valueText(reader.next())}`;
}

/** What cannot be read as text is shown as it is encoded (RFC 2253 §2.4), so that every name can be shown. */
function valueText(element: DerElement): string {
  let value: string;
  try {
    value = nameValue(element);
  } catch {
    return `#${Buffer.from(element.bytes).toString("hex")}`;
  }
  return value.replace(/[,+"\\<>;]/g, "\\$&").replace(/^[ #]| $/g, "\\$&");
}
