/** Roots as old issuers wrote them: what today's standards forbid, and what is nevertheless in use. */
import { createPublicKey, type KeyObject, sign } from "node:crypto";
import { der, derOid, Tag } from "#x509/der.ts";
import {
  basicConstraintsExtension,
  KeyUsage,
  keyUsageExtension,
  subjectKeyIdExtension,
} from "#x509/extensions.ts";
import { subjectKeyIdOf } from "#x509/issue.ts";
import { generatePrivateKey } from "#x509/keys.ts";
import { Oid } from "#x509/oid.ts";

const SHA1_WITH_RSA = "1.2.840.113549.1.1.5";

export interface OldRootWish {
  /** Content octets of the INTEGER. */
  readonly serial?: Uint8Array;
  /** Without extensions, as before version 3. */
  readonly isVersion1?: boolean;
  /** The UTCTime of the beginning. */
  readonly notBefore?: string;
  readonly name?: string;
}

export interface OldRoot {
  readonly der: Uint8Array;
  readonly key: KeyObject;
}

/** A self-signed RSA root with a SHA-1 signature, a T61String and a BMPString in its name, and whatever is wished. */
export async function oldRoot(wish: OldRootWish = {}): Promise<OldRoot> {
  const key = await generatePrivateKey("rsa-2048");
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  const algorithm = der(Tag.SEQUENCE, derOid(SHA1_WITH_RSA), der(Tag.NULL));
  const name = nameOf(wish.name ?? "Old Root");
  const times = [wish.notBefore ?? "990101000000Z", "491231235959Z"];
  // A false that is written out, as no DER is.
  const remark = der(
    Tag.SEQUENCE,
    derOid("2.16.840.1.113730.1.13"),
    der(Tag.BOOLEAN, Uint8Array.of(0)),
    der(Tag.OCTET_STRING, der(Tag.IA5_STRING, Buffer.from("made in 1999"))),
  );
  const extensions = [
    remark,
    keyUsageExtension(KeyUsage.keyCertSign | KeyUsage.cRLSign),
    basicConstraintsExtension(true),
    subjectKeyIdExtension(subjectKeyIdOf(spki)),
  ];
  const tbs = der(
    Tag.SEQUENCE,
    ...(wish.isVersion1 ? [] : [der(0xa0, der(Tag.INTEGER, Uint8Array.of(2)))]),
    der(Tag.INTEGER, wish.serial ?? Uint8Array.of(1)),
    algorithm,
    name,
    der(Tag.SEQUENCE, ...times.map((time) => der(Tag.UTC_TIME, Buffer.from(time)))),
    name,
    spki,
    ...(wish.isVersion1 ? [] : [der(0xa3, der(Tag.SEQUENCE, ...extensions))]),
  );
  const signature = sign("sha1", tbs, key);
  return {
    der: der(Tag.SEQUENCE, tbs, algorithm, der(Tag.BIT_STRING, Uint8Array.of(0), signature)),
    key,
  };
}

function nameOf(common: string): Uint8Array {
  const bmp = Buffer.from("Prüfstelle", "utf16le").swap16();
  const attributes = [
    [Oid.organization, der(Tag.T61_STRING, Buffer.from("Behörde", "latin1"))],
    [Oid.organizationalUnit, der(Tag.BMP_STRING, bmp)],
    [Oid.commonName, der(Tag.PRINTABLE_STRING, Buffer.from(common))],
  ] as const;
  return der(
    Tag.SEQUENCE,
    ...attributes.map(([oid, value]) => der(Tag.SET, der(Tag.SEQUENCE, derOid(oid), value))),
  );
}

/** The kinds of oddity, each by a name for the test. */
export const OLD_ROOTS: readonly (readonly [string, OldRootWish])[] = [
  ["a serial number of 25 octets", { serial: new Uint8Array(25).fill(0x5a) }],
  ["a negative serial number", { serial: Uint8Array.of(0x85, 0x01) }],
  ["times without seconds and with an offset", { notBefore: "9901010000+0100" }],
  ["version 1", { isVersion1: true }],
];
