/**
 * The one door to @peculiar/x509, which keeps a global registry and wants reflect-metadata first. Off the hot path: a second, independent
 * reading of certificates that a whole fleet is going to trust.
 */
import "reflect-metadata";
import { cryptoProvider, X509Certificate } from "@peculiar/x509";

/**
 * Has another implementation read a certificate and verify its signature.
 *
 * @param issuer the certificate that signed it; itself for a self-signed one
 * @throws Error when the other implementation disagrees
 */
export async function confirmCertificate(
  certificate: Uint8Array,
  issuer: Uint8Array,
): Promise<void> {
  cryptoProvider.set(crypto);
  const read = new X509Certificate(Buffer.from(certificate));
  const issuerRead = new X509Certificate(Buffer.from(issuer));
  const valid = await read.verify({ publicKey: issuerRead.publicKey, signatureOnly: true });
  if (!valid) throw new Error(`certificate ${read.subject} is not signed by ${issuerRead.subject}`);
}
