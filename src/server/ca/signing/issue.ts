/** Signs what was checked: X509-SVIDs, downstream CAs, JWT-SVIDs and WIT-SVIDs. The hot path of the server. */
import type { KeyObject } from "node:crypto";
import type { Random } from "#clock/random.ts";
import { publicJwk } from "#jwt/jwk.ts";
import { signJwt } from "#jwt/sign.ts";
import type { TokenKey, X509Ca } from "#server/ca/authority/authority.ts";
import type { CheckedSvid } from "#server/ca/profile/lint.ts";
import { CA_EXTENSIONS, SVID_EXTENSIONS } from "#server/ca/profile/profile.ts";
import { newSerial, serialText } from "#server/ca/profile/serial.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { subjectAltNameExtension, subjectKeyIdExtension } from "#x509/extensions.ts";
import { issueCertificate, subjectKeyIdOf } from "#x509/issue.ts";

export interface X509Svid {
  readonly id: SpiffeId;
  /** DER, leaf first; without the self-signed root. */
  readonly chain: readonly Uint8Array[];
  /** Decimal. */
  readonly serialNumber: string;
  /** Unix seconds. */
  readonly notBefore: number;
  readonly expiresAt: number;
}

/** A JWT-SVID or a WIT-SVID. */
export interface TokenSvid {
  /** The signed token; a secret. */
  readonly token: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

export async function issueX509Svid(
  svid: CheckedSvid,
  ca: X509Ca,
  random: Random,
): Promise<X509Svid> {
  const serialNumber = newSerial(random);
  const leaf = await issueCertificate(
    {
      serialNumber,
      issuerDer: ca.certificate.subjectDer,
      subjectDer: svid.subjectDer,
      notBefore: svid.notBefore,
      notAfter: svid.notAfter,
      publicKeySpki: svid.publicKeySpki,
      extensions: [
        ...SVID_EXTENSIONS,
        subjectKeyIdExtension(subjectKeyIdOf(svid.publicKeySpki)),
        ca.authorityKeyId,
        subjectAltNameExtension(svid.id.toString(), svid.dnsNames, false),
      ],
    },
    ca.key,
  );
  return {
    id: svid.id,
    chain: [leaf, ...ca.chain],
    serialNumber: serialText(serialNumber),
    notBefore: svid.notBefore,
    expiresAt: svid.notAfter,
  };
}

export interface DownstreamCaFields {
  readonly subjectDer: (serialNumber: string) => Uint8Array;
  readonly publicKeySpki: Uint8Array;
  /** The URI SAN, `spiffe://td`. */
  readonly trustDomainId: string;
  /** Unix seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** @returns the CA first, then what lies between it and the root; DER */
export async function issueDownstreamCa(
  fields: DownstreamCaFields,
  ca: X509Ca,
  random: Random,
): Promise<readonly Uint8Array[]> {
  const serialNumber = newSerial(random);
  const der = await issueCertificate(
    {
      serialNumber,
      issuerDer: ca.certificate.subjectDer,
      subjectDer: fields.subjectDer(serialText(serialNumber)),
      notBefore: fields.notBefore,
      notAfter: fields.notAfter,
      publicKeySpki: fields.publicKeySpki,
      extensions: [
        ...CA_EXTENSIONS,
        subjectKeyIdExtension(subjectKeyIdOf(fields.publicKeySpki)),
        ca.authorityKeyId,
        subjectAltNameExtension(fields.trustDomainId, [], false),
      ],
    },
    ca.key,
  );
  return [der, ...ca.chain];
}

export interface JwtClaims {
  readonly id: SpiffeId;
  readonly audience: readonly string[];
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Empty for none. */
  readonly issuer: string;
  readonly tokenId: string | undefined;
}

/** JWT-SVID §3: sub, aud and exp are required; aud is always a list here, as the reference writes it. */
export async function issueJwtSvid(
  claims: JwtClaims,
  { key, authorityId }: TokenKey,
): Promise<TokenSvid> {
  const { id, audience, issuedAt, expiresAt, issuer, tokenId } = claims;
  const token = await signJwt({
    signer: key,
    keyId: authorityId,
    type: "JWT",
    claims: {
      aud: audience,
      exp: expiresAt,
      iat: issuedAt,
      ...(issuer === "" ? {} : { iss: issuer }),
      ...(tokenId === undefined ? {} : { jti: tokenId }),
      sub: id.toString(),
    },
  });
  return { token, issuedAt, expiresAt };
}

export interface WitClaims {
  readonly id: SpiffeId;
  /** Of the workload: whoever shows the token proves that it has the private key. */
  readonly publicKey: KeyObject;
  /** What the workload signs its proofs with, as in JWS. */
  readonly algorithm: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Empty for none. */
  readonly issuer: string;
}

/** A workload identity token: who has the key (`sub`), and the key itself (`cnf`, RFC 7800 §3.2), for no audience in particular. */
export async function issueWitSvid(
  claims: WitClaims,
  { key, authorityId }: TokenKey,
): Promise<TokenSvid> {
  const { id, publicKey, algorithm, issuedAt, expiresAt, issuer } = claims;
  const token = await signJwt({
    signer: key,
    keyId: authorityId,
    type: "wit+jwt",
    claims: {
      cnf: { jwk: publicJwk(publicKey, { algorithm }) },
      exp: expiresAt,
      iat: issuedAt,
      ...(issuer === "" ? {} : { iss: issuer }),
      sub: id.toString(),
    },
  });
  return { token, issuedAt, expiresAt };
}
