/** The federation block of server.conf: the bundle endpoint this server offers, and the endpoints it asks. */
import { isIP } from "node:net";
import type { Block, Problems } from "#config/block.ts";
import type { ServingCertificateFiles } from "#server/bundle-endpoint/serving-certificate.ts";
import {
  type EndpointProfile,
  type FederationRelationship,
  parseBundleEndpointUrl,
} from "#spiffe/federation-relationship.ts";
import { unbracketed } from "#spiffe/host-port.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

export interface FederationConfig {
  readonly bundleEndpoint?: BundleEndpointConfig;
  readonly federatesWith: readonly FederationRelationship[];
}

interface ReadFederation extends FederationConfig {
  /** To be logged at start. */
  readonly warnings: readonly string[];
}

export interface BundleEndpointConfig {
  readonly address: string;
  readonly port: number;
  readonly refreshHintSeconds: number;
  /** The files of https_web; absent for https_spiffe, which serves with the server's own SVID. */
  readonly servingCertificate?: ServingCertificateFiles;
}

const MINUTE = 60;
const HOUR = 3600;
const DEFAULT_REFRESH_HINT = 5 * MINUTE;

/** Reads the block; one that is absent federates with nobody. */
export function readFederation(
  server: Block,
  trustDomain: TrustDomain,
  problems: Problems,
): ReadFederation {
  const federation = server.block("federation");
  if (federation === undefined) return { federatesWith: [], warnings: [] };
  const warnings: string[] = [];
  const endpoint = federation.block("bundle_endpoint");
  const bundleEndpoint =
    endpoint === undefined ? undefined : readBundleEndpoint(endpoint, warnings, problems);
  const federatesWith = federation
    .labelled("federates_with")
    .flatMap(({ label, block }) => readRelationship(label, block, trustDomain, problems) ?? []);
  federation.finish();
  const names = federatesWith.map((relationship) => relationship.trustDomain.name);
  for (const name of new Set(names.filter((one, index) => names.indexOf(one) !== index))) {
    problems.add(`federation.federates_with["${name}"] is configured more than once`);
  }
  return {
    ...(bundleEndpoint === undefined ? {} : { bundleEndpoint }),
    federatesWith,
    warnings,
  };
}

function readBundleEndpoint(
  block: Block,
  warnings: string[],
  problems: Problems,
): BundleEndpointConfig {
  const address = unbracketed(block.string("address") || "0.0.0.0");
  if (isIP(address) === 0) {
    problems.add(
      `federation.bundle_endpoint.address ${JSON.stringify(address)} is not an IP address`,
      block.lineOf("address"),
    );
  }
  const port = block.number("port");
  if (port === undefined)
    problems.add("federation.bundle_endpoint.port must be configured", block.line);
  else if (port < 0 || port > 65535) {
    problems.add(
      `federation.bundle_endpoint.port ${port} is not a port number`,
      block.lineOf("port"),
    );
  }
  const refreshHintSeconds =
    block.duration("refresh_hint", "could not parse refresh_hint") ?? DEFAULT_REFRESH_HINT;
  if (refreshHintSeconds < 0) {
    problems.add("refresh_hint must not be negative", block.lineOf("refresh_hint"));
  }
  if (refreshHintSeconds >= 24 * HOUR) {
    warnings.push(
      "Bundle endpoint refresh hint set to a high value: other trust domains hear late of a change that was not planned; 5m is a good value",
    );
  }
  if (refreshHintSeconds < MINUTE) {
    warnings.push("Bundle endpoint refresh hint set too low: SPIRE takes it for 1m");
  }
  const servingCertificate = readProfile(block, warnings, problems);
  block.finish();
  return {
    address,
    port: port ?? 0,
    refreshHintSeconds: Math.trunc(refreshHintSeconds),
    ...(servingCertificate === undefined ? {} : { servingCertificate }),
  };
}

/** @returns the files of https_web; undefined for https_spiffe, and where there are problems */
function readProfile(
  endpoint: Block,
  warnings: string[],
  problems: Problems,
): ServingCertificateFiles | undefined {
  refuseAcme(endpoint, problems);
  if (!endpoint.has("profile")) {
    warnings.push(
      "Bundle endpoint is configured but has no profile set, using https_spiffe as default; please configure a profile explicitly",
    );
    return undefined;
  }
  const line = endpoint.lineOf("profile");
  const [profile, ...more] = endpoint.labelled("profile");
  if (profile === undefined || more.length > 0) {
    problems.add("exactly one bundle endpoint profile is expected", line);
    return undefined;
  }
  const { label, block } = profile;
  let files: ServingCertificateFiles | undefined;
  if (label === "https_web") files = readServingCertificate(block, problems);
  else if (label !== "https_spiffe") {
    problems.add(
      `unknown bundle endpoint profile ${JSON.stringify(label)}; use "https_spiffe" or "https_web"`,
      line,
    );
    return undefined;
  }
  block.finish();
  return files;
}

function refuseAcme(block: Block, problems: Problems): boolean {
  if (!block.has("acme")) return false;
  problems.add(
    "federation.bundle_endpoint: acme is not built in; have an ACME client such as certbot or lego renew the certificate, and name its files in serving_cert_file, which is reloaded when they change",
    block.lineOf("acme"),
  );
  return true;
}

function readServingCertificate(
  web: Block,
  problems: Problems,
): ServingCertificateFiles | undefined {
  const refused = refuseAcme(web, problems);
  const block = web.block("serving_cert_file");
  if (block === undefined) {
    if (!refused) {
      problems.add(
        "malformed https_web profile configuration: 'acme' or 'serving_cert_file' is required",
        web.line,
      );
    }
    return undefined;
  }
  const path = (key: string): string => {
    const value = block.path(key) ?? "";
    if (value === "") problems.add(`serving_cert_file: ${key} must be configured`, block.line);
    return value;
  };
  const interval = block.duration("file_sync_interval", "could not parse file_sync_interval");
  if (interval !== undefined && interval < 0) {
    problems.add("file_sync_interval must not be negative", block.lineOf("file_sync_interval"));
  }
  const files = {
    certFilePath: path("cert_file_path"),
    keyFilePath: path("key_file_path"),
    fileSyncIntervalSeconds: interval || HOUR,
  };
  block.finish();
  return files;
}

function readRelationship(
  name: string,
  block: Block,
  own: TrustDomain,
  problems: Problems,
): FederationRelationship | undefined {
  const trustDomain = attempt(problems, block.line, `federation.federates_with["${name}"]`, () => {
    const parsed = TrustDomain.parse(name);
    if (parsed.equals(own)) throw new Error("a server does not federate with its own trust domain");
    return parsed;
  });
  const bundleEndpointUrl = readUrl(name, block, problems);
  const profile = readEndpointProfile(name, block, problems);
  block.finish();
  if (trustDomain === undefined || bundleEndpointUrl === undefined || profile === undefined) {
    return undefined;
  }
  return { trustDomain, bundleEndpointUrl, profile };
}

function readUrl(name: string, block: Block, problems: Problems): string | undefined {
  const where = `federation.federates_with["${name}"].bundle_endpoint_url`;
  const text = block.string("bundle_endpoint_url") ?? "";
  const line = block.lineOf("bundle_endpoint_url") ?? block.line;
  if (text === "") problems.add(`${where} must be configured`, line);
  else if (!text.toLowerCase().startsWith("https://")) {
    problems.add(`${where} must use the HTTPS protocol; URL found: ${JSON.stringify(text)}`, line);
  } else return attempt(problems, line, where, () => parseBundleEndpointUrl(text));
  return undefined;
}

function readEndpointProfile(
  name: string,
  block: Block,
  problems: Problems,
): EndpointProfile | undefined {
  if (!block.has("bundle_endpoint_profile")) {
    problems.add(
      `federation configuration for trust domain "${name}": missing bundle endpoint configuration`,
      block.line,
    );
    return undefined;
  }
  const line = block.lineOf("bundle_endpoint_profile");
  const where = `error parsing federation relationship for trust domain "${name}"`;
  const [profile, ...more] = block.labelled("bundle_endpoint_profile");
  if (profile === undefined || more.length > 0) {
    problems.add(`${where}: exactly one bundle endpoint profile is expected`, line);
    return undefined;
  }
  const { label, block: inner } = profile;
  return attempt(problems, line, where, () => {
    const id = inner.string("endpoint_spiffe_id") ?? "";
    inner.finish();
    if (label === "https_web") return { kind: label };
    if (label === "https_spiffe") return { kind: label, endpointSpiffeId: endpointId(id) };
    throw new Error(
      `unknown bundle endpoint profile ${JSON.stringify(label)}; use "https_spiffe" or "https_web"`,
    );
  });
}

function endpointId(text: string): SpiffeId {
  try {
    return SpiffeId.parse(text);
  } catch (error) {
    throw new Error(`could not get endpoint SPIFFE ID: ${problemText(error)}`, { cause: error });
  }
}

function attempt<T>(
  problems: Problems,
  line: number | undefined,
  where: string,
  read: () => T,
): T | undefined {
  try {
    return read();
  } catch (error) {
    problems.add(`${where}: ${errorText(error)}`, line);
    return undefined;
  }
}
