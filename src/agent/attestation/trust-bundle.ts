/** The trust bundle of the first contact: from the last run, a file, a URL, or, where that is allowed, from the server itself. */
import { readFile } from "node:fs/promises";
import type { AgentConfig } from "#agent/config.ts";
import { callUnary, tlsChannel } from "#grpc/client.ts";
import { BundleClient } from "#grpc/gen/spire/api/server/bundle/v1/bundle.ts";
import { parseBundleDocument } from "#jwt/bundle-document.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";
import { certificatesFromPem } from "#x509/pem.ts";

const TIMEOUT_MS = 30_000;
const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;

/** @returns the X.509 authorities to verify the server with, DER, never empty. @throws Error or StatusError */
export async function bootstrapBundle(
  config: AgentConfig,
  stored: readonly Uint8Array[],
  log: Log,
): Promise<readonly Uint8Array[]> {
  if (stored.length > 0) return stored;
  if (config.trustBundlePath !== undefined) return fromFile(config, config.trustBundlePath);
  if (config.trustBundleUrl !== undefined) return fromUrl(config, config.trustBundleUrl);
  return fromServer(config, log);
}

async function fromFile(config: AgentConfig, path: string): Promise<readonly Uint8Array[]> {
  try {
    return parse(config, await readFile(path, "utf8"));
  } catch (error) {
    throw new Error(`could not parse trust bundle ${path}: ${errorText(error)}`);
  }
}

async function fromUrl(config: AgentConfig, url: string): Promise<readonly Uint8Array[]> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: "error",
    });
    if (!response.ok) throw new Error(`the answer was ${response.status}`);
    const text = await response.text();
    if (text.length > MAX_BUNDLE_BYTES) throw new Error("the answer is too large");
    return parse(config, text);
  } catch (error) {
    throw new Error(`unable to fetch trust bundle URL ${url}: ${errorText(error)}`);
  }
}

function parse(config: AgentConfig, text: string): readonly Uint8Array[] {
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
async function fromServer(config: AgentConfig, log: Log): Promise<readonly Uint8Array[]> {
  const channel = tlsChannel({
    host: config.serverAddress,
    port: config.serverPort,
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
