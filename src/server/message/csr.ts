import { type Csr, parseCsr } from "#x509/csr.ts";
import { invalidArgument } from "./failure.ts";

/**
 * Reads a certificate request and checks its signature, which proves that whoever asks holds the private key
 * (RFC 2986 §3).
 *
 * @param words what the refusals say; each method of the API has its own
 * @throws StatusError INVALID_ARGUMENT
 */
export async function checkedCsr(
  der: Uint8Array,
  words: { readonly malformed: string; readonly badSignature: string },
): Promise<Csr> {
  const csr = readCsr(der, words.malformed);
  const genuine = await csr.verifySignature().catch((error: unknown) => {
    throw invalidArgument(words.badSignature, error);
  });
  if (!genuine) throw invalidArgument(words.badSignature);
  return csr;
}

function readCsr(der: Uint8Array, malformed: string): Csr {
  try {
    return parseCsr(der);
  } catch (error) {
    throw invalidArgument(malformed, error);
  }
}
