/**
 * Trust bundles between the API's messages and the texts of the command line: PEM (X.509 authorities only) and the SPIFFE bundle
 * document. Loaded when a bundle command runs.
 */

import { formatBundleDocument, parseBundleDocument } from "#jwt/bundle-document.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import { errorText } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { certificatesToPem, decodePem, readCertificatesFromPem } from "#x509/pem.ts";
import type { BundleFormat } from "./format.ts";

/** As text, with a line's end. @throws Error when the server sent what is no bundle */
export function bundleText(bundle: Bundle, format: BundleFormat): string {
  if (format === "pem") {
    return certificatesToPem(bundle.x509Authorities.flatMap(({ asn1 }) => splitCertificates(asn1)));
  }
  const document = formatBundleDocument({
    trustDomain: TrustDomain.parse(bundle.trustDomain),
    x509Authorities: bundle.x509Authorities.map(({ asn1, tainted }) => ({
      certificate: asn1,
      tainted,
    })),
    jwtAuthorities: bundle.jwtAuthorities,
    witAuthorities: [],
    refreshHint: bundle.refreshHint,
    sequenceNumber: bundle.sequenceNumber,
  });
  return `${document.trimEnd()}\n`;
}

/**
 * Reads a bundle that an operator gives for another trust domain.
 *
 * @param id the trust domain, by name or by SPIFFE ID; with PEM the server reads it
 * @throws Error
 */
export function bundleMessage(text: string, format: BundleFormat, id: string): Bundle {
  const empty = { jwtAuthorities: [], refreshHint: 0, sequenceNumber: 0, witAuthorities: [] };
  if (format === "pem") {
    const certificates = explainedNow("unable to parse bundle data", () => {
      if (decodePem(text).length === 0) throw new Error("no PEM blocks");
      return readCertificatesFromPem(text, (der) => Certificate.parse(der).der);
    });
    return { ...empty, trustDomain: id, x509Authorities: certificates.map(authority) };
  }
  const trustDomain = TrustDomain.parse(id);
  const bundle = explainedNow("unable to parse to spiffe bundle", () =>
    parseBundleDocument(text, trustDomain),
  );
  return {
    ...empty,
    trustDomain: trustDomain.name,
    x509Authorities: bundle.x509Authorities.map(({ certificate }) => authority(certificate)),
    jwtAuthorities: bundle.jwtAuthorities.map((key) => ({ ...key })),
    refreshHint: bundle.refreshHint,
    sequenceNumber: bundle.sequenceNumber,
  };
}

function authority(certificate: Uint8Array): { asn1: Uint8Array; tainted: boolean } {
  return { asn1: certificate, tainted: false };
}

function explainedNow<T>(words: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Error(`${words}: ${errorText(error)}`, { cause: error });
  }
}
