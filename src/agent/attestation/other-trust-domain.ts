import type { AgentState } from "#agent/attestation/stored-state.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { parseX509SvidChain } from "#x509/svid.ts";

/** Nothing but the operator's hand changes that. */
export class OtherTrustDomainError extends Error {
  override readonly name: string = "OtherTrustDomainError";
}

/**
 * An agent's data is of one trust domain: with what it keeps of another it would knock at the new server's door for ever.
 *
 * @param files what is in the way, for the message
 * @throws OtherTrustDomainError naming both trust domains, the files and the way out
 */
export function refuseOtherTrustDomain(
  trustDomain: TrustDomain,
  state: AgentState,
  files: readonly string[],
): void {
  const found = trustDomainsOf(state);
  const [other] = found;
  if (other === undefined || found.some((one) => one.equals(trustDomain))) return;
  throw new OtherTrustDomainError(
    `this agent's data is of trust domain ${JSON.stringify(other.name)}, trust_domain is ${JSON.stringify(trustDomain.name)}: set trust_domain to ${JSON.stringify(other.name)}, or move away ${files.join(" and ")} to have the node join the other one`,
  );
}

/** Of its SVID; of an agent that has none any more, those that the authorities it trusts name. */
function trustDomainsOf({ svid, bundle }: AgentState): readonly TrustDomain[] {
  if (svid.length > 0) return [parseX509SvidChain(svid).id.trustDomain];
  const uris = bundle.flatMap((der) => Certificate.parse(der).uriSans);
  return uris
    .filter((uri) => uri.startsWith("spiffe://"))
    .map((uri) => SpiffeId.parse(uri).trustDomain);
}
