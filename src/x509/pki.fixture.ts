/** Certificates for tests: real keys, real signatures, any defect one asks for. */
import type { KeyObject } from "node:crypto";
import { Certificate } from "./certificate.ts";
import {
  authorityKeyIdExtension,
  basicConstraintsExtension,
  extKeyUsageExtension,
  KeyUsage,
  keyUsageExtension,
  subjectAltNameExtension,
  subjectKeyIdExtension,
} from "./extensions.ts";
import { issueCertificate, subjectKeyIdOf } from "./issue.ts";
import { generatePrivateKey, signerFromPrivateKey } from "./keys.ts";
import { encodeName } from "./name.ts";
import { Oid } from "./oid.ts";
import type { KeyType, Signer } from "./signer.ts";

export const NOW = 1_800_000_000;

export interface Made {
  readonly certificate: Certificate;
  readonly key: KeyObject;
  readonly signer: Signer;
}

export interface Wish {
  readonly name: string;
  readonly issuer?: Made;
  readonly isCa?: boolean;
  readonly uri?: string;
  readonly dns?: readonly string[];
  readonly keyType?: KeyType;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly usage?: number;
  readonly more?: readonly Uint8Array[];
  /** Replace the name as the subject, the random serial number, and the basic constraints; DER but for the number. */
  readonly subjectDer?: Uint8Array;
  readonly serialNumber?: Uint8Array;
  readonly basicConstraints?: Uint8Array;
  /** Has the certificate made for the key of another. */
  readonly signer?: Made;
  /** Of another kind of key than those we sign with; DER. */
  readonly publicKeySpki?: Uint8Array;
  /** Replace the extensions with the key identifiers; empty ones leave them out. */
  readonly keyId?: Uint8Array;
  readonly issuerKeyId?: Uint8Array;
}

const SERIAL = 16;

export async function make(wish: Wish): Promise<Made> {
  const key = wish.signer?.key ?? (await generatePrivateKey(wish.keyType ?? "ec-p256"));
  const signer = signerFromPrivateKey(key);
  const subjectDer = wish.subjectDer ?? encodeName({ commonName: wish.name });
  const issuer = wish.issuer;
  const der = await issueCertificate(
    {
      serialNumber: wish.serialNumber ?? crypto.getRandomValues(new Uint8Array(SERIAL)),
      issuerDer: issuer?.certificate.subjectDer ?? subjectDer,
      subjectDer,
      notBefore: wish.notBefore ?? NOW - 60,
      notAfter: wish.notAfter ?? NOW + 3600,
      publicKeySpki: wish.publicKeySpki ?? signer.publicKeySpki,
      extensions: extensionsOf(wish, signer),
    },
    issuer?.signer ?? signer,
  );
  return { certificate: Certificate.parse(der), key, signer };
}

function extensionsOf(wish: Wish, signer: Signer): Uint8Array[] {
  const { isCa = false, uri, dns, more = [] } = wish;
  const usual = isCa ? KeyUsage.keyCertSign | KeyUsage.cRLSign : KeyUsage.digitalSignature;
  const names = uri === undefined && dns === undefined ? [] : [uri];
  return [
    keyUsageExtension(wish.usage ?? usual),
    ...(isCa ? [] : [extKeyUsageExtension(Oid.serverAuth, Oid.clientAuth)]),
    wish.basicConstraints ?? basicConstraintsExtension(isCa),
    ...keyIds(wish, signer),
    ...names.map((name) => subjectAltNameExtension(name, dns ?? [], false)),
    ...more,
  ];
}

function keyIds({ keyId, issuer, issuerKeyId }: Wish, signer: Signer): Uint8Array[] {
  const own = keyId ?? subjectKeyIdExtension(subjectKeyIdOf(signer.publicKeySpki));
  if (issuer === undefined) return [own];
  const above = authorityKeyIdExtension(subjectKeyIdOf(issuer.signer.publicKeySpki));
  return [own, issuerKeyId ?? above];
}
