import type {
  FederationRelationshipMask,
  FederationRelationship as RelationshipMessage,
} from "#proto/spire/api/types/federationrelationship.ts";
import { bundleFrom, bundleMessage } from "#server/api/bundle/convert-bundle.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import {
  type EndpointProfile,
  type FederationRelationship,
  parseBundleEndpointUrl,
} from "#spiffe/federation-relationship.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/** The relationship as a message, holding what the mask asks for; without a mask, everything. */
export function relationshipMessage(
  { trustDomain, bundleEndpointUrl, profile }: FederationRelationship,
  bundle: Bundle | undefined,
  mask: FederationRelationshipMask | undefined,
): RelationshipMessage {
  const asked = (field: keyof FederationRelationshipMask): boolean =>
    mask === undefined || mask[field];
  return {
    trustDomain: trustDomain.name,
    bundleEndpointUrl: asked("bundleEndpointUrl") ? bundleEndpointUrl : "",
    bundleEndpointProfile: asked("bundleEndpointProfile") ? profileMessage(profile) : undefined,
    trustDomainBundle:
      asked("trustDomainBundle") && bundle !== undefined
        ? bundleMessage(bundle, undefined)
        : undefined,
  };
}

function profileMessage(profile: EndpointProfile): RelationshipMessage["bundleEndpointProfile"] {
  if (profile.kind === "https_web") return { $case: "httpsWeb", value: {} };
  const endpointSpiffeId = profile.endpointSpiffeId.toString();
  return { $case: "httpsSpiffe", value: { endpointSpiffeId } };
}

/** Reads a relationship, and the bundle that came with it. @throws Error in the words of the reference */
export function relationshipFrom(message: RelationshipMessage): {
  readonly relationship: FederationRelationship;
  readonly bundle: Bundle | undefined;
} {
  const trustDomain = reading("failed to parse trust domain", () =>
    TrustDomain.parse(message.trustDomain),
  );
  const bundleEndpointUrl = parseBundleEndpointUrl(message.bundleEndpointUrl);
  const profile = profileFrom(message.bundleEndpointProfile);
  const bundle = optionalBundleFrom(message);
  // SPIFFE Federation §7.3: a bundle belongs to one trust domain, and verifies nothing of another.
  if (bundle !== undefined && !bundle.trustDomain.equals(trustDomain)) {
    throw new Error(
      `trust domain bundle ("${bundle.trustDomain}") must match the trust domain of the federation relationship ("${trustDomain}")`,
    );
  }
  return { relationship: { trustDomain, bundleEndpointUrl, profile }, bundle };
}

function profileFrom(profile: RelationshipMessage["bundleEndpointProfile"]): EndpointProfile {
  switch (profile?.$case) {
    case "httpsWeb":
      return { kind: "https_web" };
    case "httpsSpiffe": {
      const text = profile.value.endpointSpiffeId;
      const endpointSpiffeId = reading("failed to parse endpoint SPIFFE ID", () =>
        SpiffeId.parse(text),
      );
      return { kind: "https_spiffe", endpointSpiffeId };
    }
    case undefined:
      throw new Error("unsupported bundle endpoint profile type: <nil>");
  }
}

function optionalBundleFrom({ trustDomainBundle }: RelationshipMessage): Bundle | undefined {
  return trustDomainBundle === undefined
    ? undefined
    : reading("failed to parse bundle", () => bundleFrom(trustDomainBundle));
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${what}: ${problemText(error)}`, { cause: error });
  }
}
