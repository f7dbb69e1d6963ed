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
  /** Has the certificate made for the key of another. */
  readonly signer?: Made;
  /** Replace the extensions with the key identifiers; empty ones leave them out. */
  readonly keyId?: Uint8Array;
  readonly issuerKeyId?: Uint8Array;
}

const SERIAL = 16;

export async function make(wish: Wish): Promise<Made> {
  const key = wish.signer?.key ?? (await generatePrivateKey(wish.keyType ?? "ec-p256"));
  const signer = signerFromPrivateKey(key);
  const subjectDer = encodeName({ commonName: wish.name });
  const usage =
    wish.usage ?? (wish.isCa ? KeyUsage.keyCertSign | KeyUsage.cRLSign : KeyUsage.digitalSignature);
  const issuer = wish.issuer;
  const der = await issueCertificate(
    {
      serialNumber: crypto.getRandomValues(new Uint8Array(SERIAL)),
      issuerDer: issuer?.certificate.subjectDer ?? subjectDer,
      subjectDer,
      notBefore: wish.notBefore ?? NOW - 60,
      notAfter: wish.notAfter ?? NOW + 3600,
      publicKeySpki: signer.publicKeySpki,
      extensions: [
        keyUsageExtension(usage),
        ...(wish.isCa ? [] : [extKeyUsageExtension(Oid.serverAuth, Oid.clientAuth)]),
        basicConstraintsExtension(wish.isCa ?? false),
        ...keyIds(wish, signer),
        ...(wish.uri === undefined && wish.dns === undefined
          ? []
          : [subjectAltNameExtension(wish.uri, wish.dns ?? [], false)]),
        ...(wish.more ?? []),
      ],
    },
    issuer?.signer ?? signer,
  );
  return { certificate: Certificate.parse(der), key, signer };
}

function keyIds({ keyId, issuer, issuerKeyId }: Wish, signer: Signer): Uint8Array[] {
  const own = keyId ?? subjectKeyIdExtension(subjectKeyIdOf(signer.publicKeySpki));
  if (issuer === undefined) return [own];
  const above = authorityKeyIdExtension(subjectKeyIdOf(issuer.signer.publicKeySpki));
  return [own, issuerKeyId ?? above];
}
