/** Trust domains under test that federate with each other. */
import { freePort } from "./process.ts";
import { type Implementation, type ServerOptions, type Stage, TestServer } from "./spire.ts";

/** What an endpoint of these tests hints at, in seconds; no other bundle has this number. */
export const REFRESH_HINT = 240;

/** Where a trust domain offers its bundle. */
export interface Offer {
  readonly trustDomain: string;
  readonly port: number;
}

export async function offer(trustDomain: string): Promise<Offer> {
  return { trustDomain, port: await freePort() };
}

export const urlOf = ({ port }: Offer, host = "127.0.0.1"): string => `https://${host}:${port}`;
export const endpointIdOf = ({ trustDomain }: Offer): string =>
  `spiffe://${trustDomain}/spire/server`;

/** A bundle_endpoint block. @param profile by default https_spiffe */
export function endpointBlock({ port }: Offer, profile = 'profile "https_spiffe" {}'): string {
  return `bundle_endpoint {
      address = "127.0.0.1"
      port = ${port}
      refresh_hint = "${REFRESH_HINT}s"
      ${profile}
    }`;
}

/** A federates_with block, for an https_spiffe endpoint that serves its own trust domain's bundle. */
function federatesWith(other: Offer): string {
  return `federates_with "${other.trustDomain}" {
      bundle_endpoint_url = "${urlOf(other)}"
      bundle_endpoint_profile "https_spiffe" {
        endpoint_spiffe_id = "${endpointIdOf(other)}"
      }
    }`;
}

export async function startServer(
  stage: Stage,
  implementation: Implementation,
  trustDomain: string,
  blocks: readonly string[],
  options: ServerOptions = {},
): Promise<TestServer> {
  return TestServer.start(stage, implementation, {
    ...options,
    trustDomain,
    settings: `federation {\n    ${blocks.join("\n    ")}\n  }\n  ${options.settings ?? ""}`,
  });
}

/** The flags of `federation create` for an https_web endpoint. */
export function webFlags(trustDomain: string, url: string): string[] {
  return [
    ...["-trustDomain", trustDomain],
    ...["-bundleEndpointURL", url],
    ...["-bundleEndpointProfile", "https_web"],
  ];
}

/** The flags of `federation create` for an https_spiffe endpoint that serves its own trust domain's bundle. */
export function spiffeFlags(other: Offer): string[] {
  return [
    ...["-trustDomain", other.trustDomain],
    ...["-bundleEndpointURL", urlOf(other)],
    ...["-bundleEndpointProfile", "https_spiffe"],
    ...["-endpointSpiffeID", endpointIdOf(other)],
  ];
}

/** Creates a relationship while the server runs. */
export async function create(server: TestServer, ...flags: string[]): Promise<void> {
  const made = await server.cli("federation", "create", ...flags);
  if (made.code !== 0) throw new Error(made.stderr);
}

/** Gives a server the bundle of another by hand, as operators do to begin with. */
export async function introduce(to: TestServer, other: TestServer): Promise<void> {
  const shown = await other.cli("bundle", "show", "-format", "spiffe");
  const set = await to.cliOf(
    to.implementation,
    ["bundle", "set", "-id", other.trustDomain, "-format", "spiffe"],
    { input: shown.stdout },
  );
  if (set.code !== 0) throw new Error(set.stderr);
}

/** What a server knows of another trust domain's bundle. */
export async function bundleOf(
  server: TestServer,
  trustDomain: string,
): Promise<{ readonly hint: number; readonly x509: number; readonly jwt: number } | undefined> {
  const shown = await server.cli("bundle", "list", "-id", trustDomain, "-output", "json");
  if (shown.code !== 0) return undefined;
  const bundle = JSON.parse(shown.stdout) as {
    refresh_hint: string;
    x509_authorities: unknown[];
    jwt_authorities: unknown[];
  };
  return {
    hint: Number(bundle.refresh_hint),
    x509: bundle.x509_authorities.length,
    jwt: bundle.jwt_authorities.length,
  };
}

/** Starts two servers that federate with each other by https_spiffe, each knowing the other's bundle from its endpoint. */
export async function federatedPair(
  stage: Stage,
  implementations: readonly [Implementation, Implementation],
): Promise<{
  readonly servers: readonly [TestServer, TestServer];
  readonly endpoints: readonly [Offer, Offer];
}> {
  const endpoints = [await offer("one.test"), await offer("two.test")] as const;
  const [one, two] = await Promise.all([
    startServer(stage, implementations[0], "one.test", [
      endpointBlock(endpoints[0]),
      federatesWith(endpoints[1]),
    ]),
    startServer(stage, implementations[1], "two.test", [
      endpointBlock(endpoints[1]),
      federatesWith(endpoints[0]),
    ]),
  ]);
  await Promise.all([introduce(one, two), introduce(two, one)]);
  return { servers: [one, two], endpoints };
}
