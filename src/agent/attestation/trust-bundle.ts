/**
 * The trust bundle of the first contact: from a file, a URL, another agent, or from the server itself: what a join word vouches for,
 * or, where that is allowed, whatever it shows.
 */

import { readFile } from "node:fs/promises";
import type { BootstrapConfig } from "#agent/config/bootstrap.ts";
import type { Clock } from "#clock/clock.ts";
import { obeyed } from "#files/obeyed.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import type { DocumentRequest } from "#http/fetch-document.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import { parseBundleDocument } from "#jwt/bundle-document.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { isoTime } from "#x509/iso-time.ts";
import { readCertificatesFromPem } from "#x509/pem.ts";
import { fetchBundle } from "./other-agent.ts";
import { firstServersAuthorities, namedAuthorities } from "./server-bundle.ts";
import type { BootstrapMode } from "./stored-state.ts";

const TIMEOUT_MS = 30_000;
const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;

/** Where the bundle comes from, and for whom it is. */
export type BundleSource = BootstrapConfig & ServerAddress;

/** What the agent asks for, for a service that hands out bundles by its own rules. */
export interface BundleRequest {
  readonly mode: BootstrapMode;
  /** Its ordinal since `start`, from 1. */
  readonly attempt: number;
  /** Unix seconds: since when the agent tries to get to know its server. */
  readonly start: number;
}

export interface BundleTools {
  readonly log: Log;
  readonly clock: Clock;
  /** Ends a fetch that is under way. */
  readonly signal: AbortSignal;
}

/** @returns the X.509 authorities to verify the server with, DER, never empty. @throws Error or StatusError */
export async function fetchTrustBundle(
  config: BundleSource,
  request: BundleRequest,
  tools: BundleTools,
): Promise<readonly Uint8Array[]> {
  const { log } = tools;
  if (config.authorityFingerprints !== undefined) {
    return namedAuthorities(config, config.authorityFingerprints, log);
  }
  if (config.trustBundlePath !== undefined) return fromFile(config, config.trustBundlePath);
  if (config.trustBundleUrl !== undefined) {
    return fromUrl(config, config.trustBundleUrl, request, tools);
  }
  if (config.trustBundleSpiffeSocket !== undefined) {
    return await fetchBundle(config.trustBundleSpiffeSocket, config.trustDomain);
  }
  return firstServersAuthorities(config, log);
}

async function fromFile(config: BundleSource, path: string): Promise<readonly Uint8Array[]> {
  try {
    return parse(config, await readFile(obeyed(path), "utf8"));
  } catch (error) {
    throw new Error(`could not parse trust bundle ${path}: ${errorText(error)}`);
  }
}

async function fromUrl(
  config: BundleSource,
  text: string,
  request: BundleRequest,
  { clock, signal }: BundleTools,
): Promise<readonly Uint8Array[]> {
  const socketPath = config.trustBundleUnixSocket;
  const url = new URL(socketPath === undefined ? text : withRequest(config, text, request));
  try {
    const { fetchDocument } = await import("#http/fetch-document.ts");
    const document = await fetchDocument({
      url,
      accept: "application/json, application/x-pem-file, */*",
      ...(socketPath === undefined ? byWeb(config.tlsPolicy) : byLocalService(socketPath)),
      maxBytes: MAX_BUNDLE_BYTES,
      deadlineMs: TIMEOUT_MS,
      clock,
      signal,
    });
    return parse(config, document);
  } catch (error) {
    const through = socketPath === undefined ? "" : ` through ${socketPath}`;
    throw new Error(`unable to fetch trust bundle URL ${text}${through}: ${errorText(error)}`);
  }
}

type Way = Pick<DocumentRequest, "connect" | "follow">;

/** To whoever this machine's certification authorities vouch for, as for any https URL; a redirect may lead to nobody less. */
function byWeb(policy: TlsPolicy): Way {
  return {
    connect: async (url, signal) => {
      const { checkWebCertificate, connectTls, systemRoots } = await import("#http/connect-tls.ts");
      const trust = { ca: systemRoots(), judge: checkWebCertificate };
      const socket = await connectTls({ url, policy, ...trust, env: process.env, signal });
      return {
        options: { createConnection: () => socket },
        close: () => void socket.destroy(),
      };
    },
    follow: (location) => {
      if (location.protocol === "https:" && location.username === "") return location;
      throw new Error(`a redirect to ${location.origin}, which is not followed: it must be https`);
    },
  };
}

/** Whatever the URL says, the service behind the socket is asked. */
function byLocalService(socketPath: string): Way {
  return {
    connect: async () => ({ options: { socketPath }, close: () => undefined }),
    follow: ({ origin }) => {
      throw new Error(`a redirect to ${origin}, which the socket does not lead to`);
    },
  };
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
    "spire-attest-start-time": isoTime(start),
    "spire-server-address": config.serverAddress,
    "spire-server-port": String(config.serverPort),
    "spiffe-trust-domain": config.trustDomain.name,
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  url.searchParams.sort();
  return url.href;
}

function parse(config: BundleSource, text: string): readonly Uint8Array[] {
  if (config.trustBundleFormat === "pem") {
    return readCertificatesFromPem(text, Certificate.parse).map(({ der }) => der);
  }
  const { x509Authorities } = parseBundleDocument(text, config.trustDomain);
  if (x509Authorities.length === 0) throw new Error("no certificates found");
  return x509Authorities.map(({ certificate }) => certificate);
}
