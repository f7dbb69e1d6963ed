import type { FederationRelationship } from "#proto/spire/api/types/federationrelationship.ts";

/** A relationship as commands print it, with a line's end. */
export function relationshipBlock(relationship: FederationRelationship): string {
  const { trustDomain, bundleEndpointUrl, bundleEndpointProfile: profile } = relationship;
  const lines = [
    `Trust domain              : ${trustDomain}`,
    `Bundle endpoint URL       : ${bundleEndpointUrl}`,
  ];
  if (profile?.$case === "httpsWeb") lines.push("Bundle endpoint profile   : https_web");
  if (profile?.$case === "httpsSpiffe") {
    lines.push(
      "Bundle endpoint profile   : https_spiffe",
      `Endpoint SPIFFE ID        : ${profile.value.endpointSpiffeId}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
