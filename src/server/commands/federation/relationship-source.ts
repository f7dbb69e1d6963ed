/** Federation relationships as an operator gives them: by flags, or in a JSON file. */
import { type Flag, type FlagValues, stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { readInputFile } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import { explained } from "#cli/rpc-error.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import type { FederationRelationship } from "#proto/spire/api/types/federationrelationship.ts";
import { JsonObject } from "#server/commands/json-object.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

interface RelationshipFlags extends Record<string, Flag<unknown>> {
  readonly data: Flag<string>;
  readonly trustDomain: Flag<string>;
  readonly bundleEndpointURL: Flag<string>;
  readonly bundleEndpointProfile: Flag<string>;
  readonly endpointSpiffeID: Flag<string>;
  readonly trustDomainBundlePath: Flag<string>;
  readonly trustDomainBundleFormat: Flag<string>;
}

export const RELATIONSHIP_FLAGS: RelationshipFlags = {
  data: stringFlag(
    "A JSON file with the relationships, - for standard input; instead of the other flags",
  ),
  trustDomain: stringFlag("The trust domain to federate with, such as example.org"),
  bundleEndpointURL: stringFlag("Where its trust bundle is to be had: an https URL"),
  bundleEndpointProfile: stringFlag(
    'How that endpoint proves who it is, "https_web" or "https_spiffe"',
  ),
  endpointSpiffeID: stringFlag("The SPIFFE ID of the endpoint, for https_spiffe"),
  trustDomainBundlePath: stringFlag("A file with the trust bundle to begin with (optional)"),
  trustDomainBundleFormat: stringFlag('What that file holds, "pem" or "spiffe"', "pem"),
};

/** What a flag or the key of a file gives; empty where it does not. */
interface Given {
  readonly trustDomain: string;
  readonly url: string;
  readonly profile: string;
  readonly endpointSpiffeId: string;
  /** Reads the bundle. @param id the trust domain it is labelled with */
  readonly bundle: (id: string) => Promise<Bundle | undefined>;
}

/** @throws Error in the words of the reference */
export async function readRelationships(
  flags: FlagValues<RelationshipFlags>,
  io: Io,
): Promise<FederationRelationship[]> {
  if (flags.data === "") return [await relationshipOf(givenByFlags(flags, io))];
  const { data, trustDomainBundleFormat: format, ...others } = flags;
  if (format !== "pem" || Object.keys(RELATIONSHIP_FLAGS).some((name) => others[name])) {
    throw new Error(
      "cannot use other flags to specify relationship fields when 'data' flag is set",
    );
  }
  const text = await readInputFile(data, io);
  const items = await explained("failed to parse JSON", () =>
    JsonObject.parse(text).objects("federationrelationships").map(givenByFile),
  );
  const relationships: FederationRelationship[] = [];
  for (const [index, given] of items.entries()) {
    relationships.push(
      await explained(`could not parse item ${index}`, () => relationshipOf(given)),
    );
  }
  return relationships;
}

function givenByFlags(flags: FlagValues<RelationshipFlags>, io: Io): Given {
  const { trustDomainBundlePath: path, trustDomainBundleFormat: format } = flags;
  return {
    trustDomain: flags.trustDomain,
    url: flags.bundleEndpointURL,
    profile: flags.bundleEndpointProfile,
    endpointSpiffeId: flags.endpointSpiffeID,
    bundle: async (id) => {
      if (path === "") return undefined;
      const text = await explained("cannot read bundle file", () => readInputFile(path, io));
      return explained("cannot parse bundle file", () => bundleOf(text, format, id));
    },
  };
}

function givenByFile(item: JsonObject): Given {
  const bundle = item.value("trustdomainbundle");
  const format = item.text("trustdomainbundleformat");
  return {
    trustDomain: item.text("trustdomain"),
    url: item.text("bundleendpointurl"),
    profile: item.text("bundleendpointprofile"),
    endpointSpiffeId: item.text("endpointspiffeid"),
    bundle: async (id) => {
      if (bundle === undefined) return undefined;
      return explained("cannot parse bundle raw message", () =>
        bundleOf(bundleTextOf(bundle, format), format, id),
      );
    },
  };
}

/** PEM stands in the JSON as a text, a SPIFFE bundle as itself. */
function bundleTextOf(value: unknown, format: string): string {
  if (format === "spiffe") return JSON.stringify(value);
  if (format !== "pem") throw new Error(`bundle format ${goQuote(format)} is unsupported`);
  if (typeof value !== "string") {
    throw new Error("failed to unmarshal json: a bundle in PEM must be a string");
  }
  return value;
}

async function bundleOf(text: string, format: string, id: string): Promise<Bundle> {
  const { bundleMessage } = await import("#server/commands/bundle/bundle-text.ts");
  return bundleMessage(text, format === "pem" ? "pem" : "spiffe", id);
}

async function relationshipOf(given: Given): Promise<FederationRelationship> {
  const { trustDomain, url, endpointSpiffeId } = given;
  if (trustDomain === "") throw new Error("trust domain is required");
  if (url === "") throw new Error("bundle endpoint URL is required");
  const common = { trustDomain, bundleEndpointUrl: url };
  switch (given.profile) {
    case "https_web":
      return {
        ...common,
        bundleEndpointProfile: { $case: "httpsWeb", value: {} },
        trustDomainBundle: await given.bundle(trustDomain),
      };
    case "https_spiffe": {
      if (endpointSpiffeId === "") {
        throw new Error("endpoint SPIFFE ID is required if 'https_spiffe' endpoint profile is set");
      }
      const endpoint = await explained("cannot parse bundle endpoint SPIFFE ID", () =>
        SpiffeId.parse(endpointSpiffeId),
      );
      return {
        ...common,
        bundleEndpointProfile: { $case: "httpsSpiffe", value: { endpointSpiffeId } },
        // The reference labels it so; the server refuses a bundle that is not of the relationship's trust domain.
        trustDomainBundle: await given.bundle(endpoint.trustDomain.name),
      };
    }
    default:
      throw new Error(`unknown bundle endpoint profile type: ${goQuote(given.profile)}`);
  }
}
