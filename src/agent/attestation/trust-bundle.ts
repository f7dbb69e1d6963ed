/**
 * The trust bundle of the first contact: from a file, a URL, another agent, or from the server itself: what a join word vouches for,
 * or, where that is allowed, whatever it shows.
 */

import { readFile } from "node:fs/promises";
import type { BootstrapConfig } from "#agent/config-bootstrap.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import { parseBundleDocument } from "#jwt/bundle-document.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { isoTime } from "#x509/iso-time.ts";
import { certificatesFromPem } from "#x509/pem.ts";
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
  if (config.authorityFingerprints !== undefined) {
    return namedAuthorities(config, config.authorityFingerprints, log);
  }
  if (config.trustBundlePath !== undefined) return fromFile(config, config.trustBundlePath);
  if (config.trustBundleUrl !== undefined) return fromUrl(config, config.trustBundleUrl, request);
  if (config.trustBundleSpiffeSocket !== undefined) {
    return await fetchBundle(config.trustBundleSpiffeSocket, config.trustDomain);
  }
  return firstServersAuthorities(config, log);
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
    "spire-attest-start-time": isoTime(start),
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
