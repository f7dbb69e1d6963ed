/** What a node's certificate says about the node: its selectors, and what a template for its path may ask for. */
import { createHash } from "node:crypto";
import type { Dict, Fields } from "#config/template/values.ts";
import type { Selector } from "#spiffe/selector.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Certificate } from "#x509/certificate.ts";
import { type NameAttribute, nameAttributes } from "#x509/name.ts";
import { Oid } from "#x509/oid.ts";
import { ipText } from "./ip-address.ts";
import { ATTESTATION_TYPE } from "./payload.ts";

/** The fields of a template; for what belongs to the certificate by the names that Go's x509.Certificate has. */
export const TEMPLATE_FIELDS: readonly string[] = [
  "PluginName",
  "TrustDomain",
  "Fingerprint",
  "SerialNumberHex",
  "SVIDPathTrimmed",
  "URISanSelectors",
  "Subject",
  "Issuer",
  "SerialNumber",
  "DNSNames",
  "EmailAddresses",
  "IPAddresses",
  "URIs",
];

export interface NodeFacts {
  readonly trustDomain: TrustDomain;
  readonly leaf: Certificate;
  /** What follows the prefix in the path of the node's SVID; empty in mode `external_pki`. */
  readonly svidPath: string;
  /** From the alternative names `x509pop://<trust domain>/<key>/<value>`. */
  readonly sanSelectors: ReadonlyMap<string, string>;
}

/** @param fingerprint of the leaf, or of a form of it that is as good */
export function templateData(
  { trustDomain, leaf, svidPath, sanSelectors }: NodeFacts,
  fingerprint: string,
): Fields {
  const sans: Dict = new Map(sanSelectors);
  return {
    PluginName: ATTESTATION_TYPE,
    TrustDomain: trustDomain.name,
    Fingerprint: fingerprint,
    SerialNumberHex: serialNumberHex(leaf),
    SVIDPathTrimmed: svidPath,
    URISanSelectors: sans,
    Subject: nameFields(nameAttributes(leaf.subjectDer)),
    Issuer: nameFields(nameAttributes(leaf.issuerDer)),
    SerialNumber: leaf.serialNumber,
    DNSNames: leaf.dnsSans,
    EmailAddresses: leaf.emailSans,
    IPAddresses: leaf.ipSans.map(ipText),
    URIs: leaf.uriSans,
  };
}

function nameFields(attributes: readonly NameAttribute[]): Fields {
  const all = (oid: string): string[] =>
    attributes.filter((one) => one.oid === oid).map(({ value }) => value);
  return {
    CommonName: all(Oid.commonName).at(-1) ?? "",
    SerialNumber: all(Oid.serialNumber).at(-1) ?? "",
    Country: all(Oid.country),
    Organization: all(Oid.organization),
    OrganizationalUnit: all(Oid.organizationalUnit),
    Locality: all(Oid.locality),
    Province: all(Oid.province),
    StreetAddress: all(Oid.street),
    PostalCode: all(Oid.postalCode),
  };
}

/** @param chains every path to a trusted root, leaf first */
export function nodeSelectors(
  { leaf, sanSelectors }: NodeFacts,
  chains: readonly (readonly Certificate[])[],
): Selector[] {
  const commonName = nameAttributes(leaf.subjectDer).findLast(({ oid }) => oid === Oid.commonName);
  const authorities = new Set(
    chains.flatMap((chain) => chain.slice(1).map(({ der }) => sha1Fingerprint(der))),
  );
  const values = [
    ...(commonName?.value ? [`subject:cn:${commonName.value}`] : []),
    ...Array.from(authorities, (fingerprint) => `ca:fingerprint:${fingerprint}`),
    `serialnumber:${serialNumberHex(leaf)}`,
    ...Array.from(sanSelectors, ([key, value]) => `san:${key}:${value}`),
  ];
  return values.map((value) => ({ type: ATTESTATION_TYPE, value }));
}

/**
 * Reads the alternative names that hold selectors.
 *
 * @returns the selectors, the last of a key counts; and the names that belong to the scheme but hold none
 */
export function sanSelectorsOf(
  leaf: Certificate,
  trustDomain: TrustDomain,
): { readonly selectors: ReadonlyMap<string, string>; readonly malformed: readonly string[] } {
  const prefix = `${ATTESTATION_TYPE}://${trustDomain.name}/`;
  const selectors = new Map<string, string>();
  const malformed: string[] = [];
  for (const uri of leaf.uriSans) {
    const [scheme = ""] = uri.split(":");
    if (!(scheme.toLowerCase() + uri.slice(scheme.length)).startsWith(prefix)) continue;
    const [path = ""] = uri.slice(prefix.length).split(/[?#]/);
    const [, key, value] = /^\/*([^/]+)\/(.*?)\/*$/s.exec(decodedPath(path)) ?? [];
    if (key === undefined || value === undefined) malformed.push(uri);
    else selectors.set(key, value);
  }
  return { selectors, malformed };
}

/** Empty, and so without a selector, when the escapes are malformed. */
function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return "";
  }
}

/** SHA-1 names a certificate here, as the reference's agent IDs and selectors do; nothing is trusted because of it. @param der DER */
export function sha1Fingerprint(der: Uint8Array): string {
  return createHash("sha1").update(der).digest("hex");
}

/** An even number of digits, as other tools show serial numbers. */
function serialNumberHex({ serialNumber }: Certificate): string {
  const digits = serialNumber.toString(16);
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}
