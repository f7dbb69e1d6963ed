import type { LogFields } from "#log/log.ts";
import type {
  FederationRelationship,
  FederationRelationshipMask,
} from "#proto/spire/api/types/federationrelationship.ts";
import { authorityFields } from "#server/api/bundle/bundle-audit.ts";

/** What the audit log says about a relationship that was to be written: the fields the mask names, all without a mask. */
export function relationshipAuditFields(
  message: FederationRelationship,
  mask: FederationRelationshipMask | undefined,
): LogFields {
  const asked = (field: keyof FederationRelationshipMask): boolean =>
    mask === undefined || mask[field];
  return {
    ...(message.trustDomain !== "" && { trust_domain_id: message.trustDomain }),
    ...(asked("bundleEndpointUrl") && {
      bundle_endpoint_url: withoutUser(message.bundleEndpointUrl),
    }),
    ...(asked("bundleEndpointProfile") && profileFields(message.bundleEndpointProfile)),
    ...(asked("trustDomainBundle") && bundleFields(message.trustDomainBundle)),
  };
}

/** A URL with a password in it is refused, and its password must not be in the log either. */
function withoutUser(url: string): string {
  return url.replace(/\/\/[^/?#]*@/, "//");
}

function profileFields(profile: FederationRelationship["bundleEndpointProfile"]): LogFields {
  switch (profile?.$case) {
    case "httpsWeb":
      return { bundle_endpoint_profile: "https_web" };
    case "httpsSpiffe":
      return {
        bundle_endpoint_profile: "https_spiffe",
        endpoint_spiffe_id: profile.value.endpointSpiffeId,
      };
    case undefined:
      return {};
  }
}

function bundleFields(bundle: FederationRelationship["trustDomainBundle"]): LogFields {
  if (bundle === undefined) return {};
  const fields = {
    trust_domain_id: bundle.trustDomain,
    refresh_hint: bundle.refreshHint,
    sequence_number: bundle.sequenceNumber,
    ...authorityFields(bundle.x509Authorities, bundle.jwtAuthorities),
  };
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [`bundle_${name}`, value]),
  );
}
