/** The trust bundle of the first contact: from a file, a URL, another agent, or, where that is allowed, from the server itself. */
import { readFile } from "node:fs/promises";
import type { BootstrapConfig } from "#agent/config-bootstrap.ts";
import { callUnary, tlsChannel } from "#grpc/client.ts";
import { BundleClient } from "#grpc/gen/spire/api/server/bundle/v1/bundle.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import { parseBundleDocument } from "#jwt/bundle-document.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { fetchBundle } from "./other-agent.ts";
import { type BootstrapMode, rfc3339 } from "./stored-state.ts";

const TIMEOUT_MS = 30_000;
const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;

/** Where the bundle comes from, and for whom it is. */
export type BundleSource = BootstrapConfig & ServerAddress;

/** What the agent asks for, for a service that hands out bundles by its own rules. */
export interface BundleRequest {
  readonly mode: BootstrapMode;
  /** The how manieth it is since `start`. */
  readonly attempt: number;
  /** Unix seconds: since when the agent tries to get to know its server. */
  readonly start: number;
}

/** @returns the X.509 authorities to verify the server with, DER, never empty. @throws Error or StatusError */
export async function fetchTrustBundle(
  config: BundleSource,
  request: BundleRequest,
  log: Log,
): Promise<readonly Uint8Array[]> {
  if (config.trustBundlePath !== undefined) return fromFile(config, config.trustBundlePath);
  if (config.trustBundleUrl !== undefined) return fromUrl(config, config.trustBundleUrl, request);
  if (config.trustBundleSpiffeSocket !== undefined) {
    return await fetchBundle(config.trustBundleSpiffeSocket, config.trustDomain);
  }
  return fromServer(config, log);
}

async function fromFile(config: BundleSource, path: string): Promise<readonly Uint8Array[]> {
  try {
    return parse(config, await readFile(path, "utf8"));
  } catch (error) {
    throw new Error(`could not parse trust bundle ${path}: ${errorText(error)}`);
  }
}

async function fromUrl(
  config: BundleSource,
  url: string,
  request: BundleRequest,
): Promise<readonly Uint8Array[]> {
  const socket = config.trustBundleUnixSocket;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response =
      socket === undefined
        ? await fetch(url, { signal, redirect: "error" })
        : await fetch(withRequest(config, url, request), {
            signal,
            redirect: "error",
            unix: socket,
          });
    if (!response.ok) throw new Error(`the answer was ${response.status}`);
    return parse(config, await limitedText(response));
  } catch (error) {
    const through = socket === undefined ? "" : ` through ${socket}`;
    throw new Error(`unable to fetch trust bundle URL ${url}${through}: ${errorText(error)}`);
  }
}

/** Only a local service is told what the bundle is for; it may have its own way to find out which one is right. */
function withRequest(
  config: BundleSource,
  text: string,
  { mode, attempt, start }: BundleRequest,
): string {
  const url = new URL(text);
  const query = {
    "spire-attest-mode": mode,
    "spire-connection-attempts": String(attempt),
    "spire-attest-start-time": rfc3339(start),
    "spire-server-address": config.serverAddress,
    "spire-server-port": String(config.serverPort),
    "spiffe-trust-domain": config.trustDomain.name,
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  url.searchParams.sort();
  return url.href;
}

async function limitedText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > MAX_BUNDLE_BYTES) throw new Error("the answer is too large");
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parse(config: BundleSource, text: string): readonly Uint8Array[] {
  const found =
    config.trustBundleFormat === "pem"
      ? certificatesFromPem(text)
      : parseBundleDocument(text, config.trustDomain).x509Authorities.map(
          ({ certificate }) => certificate,
        );
  if (found.length === 0) throw new Error("no certificates found");
  for (const der of found) Certificate.parse(der);
  return found;
}

/**
 * Asks the server for the bundle over a connection that verifies nothing. No secret crosses it: the token goes only over the next
 * connection, which is verified against this bundle, so it reaches whoever answered here and nobody else.
 */
async function fromServer(config: BundleSource, log: Log): Promise<readonly Uint8Array[]> {
  const channel = tlsChannel({
    host: config.serverAddress,
    port: config.serverPort,
    policy: config.tlsPolicy,
    verifyServer: () => {},
  });
  const client = new BundleClient(channel.address, channel.credentials, channel.options);
  try {
    const bundle = await callUnary(
      client,
      "getBundle",
      { outputMask: undefined },
      { timeoutMs: TIMEOUT_MS },
    );
    const found = bundle.x509Authorities.flatMap(({ asn1 }) => splitCertificates(asn1));
    if (found.length === 0) throw new Error("the server sent an empty trust bundle");
    log.warn("Trust bundle taken from the first server that answered", {
      fingerprints: found.map(sha256Fingerprint),
    });
    return found;
  } finally {
    client.close();
  }
}
