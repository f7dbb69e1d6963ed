import { Certificate } from "./certificate.ts";
import { verifyChain } from "./chain.ts";

/**
 * Whether a chain leads to one of the authorities.
 *
 * @param chain DER, its lowest certificate first
 * @param authorities DER
 * @param atSeconds Unix seconds
 * @throws Error for a malformed certificate
 */
export function leadsTo(
  chain: readonly Uint8Array[],
  authorities: readonly Uint8Array[],
  atSeconds: number,
): boolean {
  if (authorities.length === 0) return false;
  const [leaf, ...intermediates] = chain.map((der) => Certificate.parse(der));
  if (leaf === undefined) return false;
  const roots = authorities.map((der) => Certificate.parse(der));
  try {
    verifyChain({ leaf, intermediates, roots, atSeconds, usage: "any" });
    return true;
  } catch {
    return false;
  }
}
