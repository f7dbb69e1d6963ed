import type { SpiffeId } from "./spiffe-id.ts";
import type { TrustDomain } from "./trust-domain.ts";

/** How a bundle endpoint proves who it is (SPIFFE Federation §5.2). */
export type EndpointProfile =
  | { readonly kind: "https_web" }
  | { readonly kind: "https_spiffe"; readonly endpointSpiffeId: SpiffeId };

/** Where the bundle of another trust domain comes from (SPIFFE Federation §5.1). */
export interface FederationRelationship {
  readonly trustDomain: TrustDomain;
  /** Checked by `parseBundleEndpointUrl`. */
  readonly bundleEndpointUrl: string;
  readonly profile: EndpointProfile;
}

/**
 * Reads the URL of a bundle endpoint: https, a host, no user info (SPIFFE Federation §5.2.1.1, §5.2.2.1).
 *
 * @returns the text as it was, but for the scheme in lowercase
 * @throws Error in the words of the reference
 */
export function parseBundleEndpointUrl(text: string): string {
  // URL itself is too kind: it drops tabs, turns backslashes round, and finds a host in "https:///host".
  const [, scheme = "", authority] = /^([a-z][a-z0-9+.-]*):(?:\/\/([^/?#]*))?/i.exec(text) ?? [];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u0020\u007f\\]/.test(text)) {
    throw new Error(
      "failed to parse bundle endpoint URL: it contains a space, a control character or a backslash",
    );
  }
  if (scheme.toLowerCase() !== "https") {
    throw new Error("bundle endpoint URL must use the https scheme");
  }
  if (authority === undefined || authority === "") {
    throw new Error("bundle endpoint URL must specify the host");
  }
  if (authority.includes("@")) throw new Error("bundle endpoint URL must not contain user info");
  const url = `https${text.slice(scheme.length)}`;
  if (!URL.canParse(url)) {
    throw new Error("failed to parse bundle endpoint URL: the host or port is not valid");
  }
  return url;
}

/** Whether two relationships lead to the same endpoint and trust the same thing there. */
export function sameEndpoint(one: FederationRelationship, other: FederationRelationship): boolean {
  return (
    one.trustDomain.equals(other.trustDomain) &&
    one.bundleEndpointUrl === other.bundleEndpointUrl &&
    endpointIdOf(one.profile) === endpointIdOf(other.profile)
  );
}

/** Empty for https_web. */
export function endpointIdOf(profile: EndpointProfile): string {
  return profile.kind === "https_spiffe" ? profile.endpointSpiffeId.toString() : "";
}
