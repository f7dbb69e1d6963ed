/** Distinguished names: written as DER, shown the way the reference's tools show them. */
import { DerReader, der, derOid, oidText, readDer, Tag } from "./der.ts";
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
  const value = new TextDecoder().decode(reader.next().content);
  const escaped = value.replace(/[,+"\\<>;]/g, "\\$&").replace(/^[ #]| $/g, "\\$&");
  return `${SHORT_NAMES[oid] ?? oid}=${escaped}`;
}
