/** PEM (RFC 7468): the text form of certificates and keys in files. */

export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*?)-----END \1-----/g;

/** All PEM blocks of a text, in order; text between them is skipped, as RFC 7468 §2 allows. */
export function decodePem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (const [, label, body] of text.matchAll(BLOCK)) {
    if (label === undefined || body === undefined) continue;
    blocks.push({ label, der: Buffer.from(body.replace(/\s+/g, ""), "base64") });
  }
  return blocks;
}

/** One PEM block with lines of 64 characters and a final newline. */
export function encodePem(label: string, der: Uint8Array): string {
  const body = Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

/**
 * The certificates of a PEM text, DER, in order. Blocks of other kinds are skipped.
 *
 * @throws Error when there is none
 */
export function certificatesFromPem(text: string): Uint8Array[] {
  const found = decodePem(text).filter((block) => block.label === "CERTIFICATE");
  if (found.length === 0) throw new Error("no PEM blocks of type CERTIFICATE found");
  return found.map((block) => block.der);
}

/** Certificates one after the other as PEM. */
export function certificatesToPem(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => encodePem("CERTIFICATE", der)).join("");
}
