/**
 * The one door to @peculiar/x509. Off the hot path: a second, independent reading of certificates that a whole fleet is going to trust.
 */

type Peculiar = typeof import("@peculiar/x509");
let loading: Promise<Peculiar> | undefined;

/** It registers itself in a global container and wants reflect-metadata there first; only imports in sequence hold that order. */
async function load(): Promise<Peculiar> {
  await import("reflect-metadata");
  const peculiar = await import("@peculiar/x509");
  peculiar.cryptoProvider.set(crypto);
  return peculiar;
}

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
  loading ??= load();
  const { X509Certificate } = await loading;
  const read = new X509Certificate(Buffer.from(certificate));
  const issuerRead = new X509Certificate(Buffer.from(issuer));
  const valid = await read.verify({ publicKey: issuerRead.publicKey, signatureOnly: true });
  if (!valid) throw new Error(`certificate ${read.subject} is not signed by ${issuerRead.subject}`);
}
