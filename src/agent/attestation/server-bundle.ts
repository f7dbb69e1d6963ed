/**
 * The trust bundle from the server itself, over a connection that verifies nothing. No secret crosses it: the token goes only over the next
 * connection, which is verified against what was taken here.
 */
import { callUnary, tlsChannel } from "#grpc/client.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import type { Log } from "#log/log.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";

const TIMEOUT_MS = 30_000;
/** Whoever answers may send what it likes. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Of authorities that nobody vouches for, a message names so many. */
const MAX_SHOWN = 4;

/** Who answers at the server's address is not whom the join word is for, or not any more. Trying again does not help. */
export class StrangeServerError extends Error {
  override readonly name: string = "StrangeServerError";
}

/** @returns the X.509 authorities of whatever server answers first, DER, never empty. @throws Error or StatusError */
export async function firstServersAuthorities(
  server: ServerAddress,
  log: Log,
): Promise<readonly Uint8Array[]> {
  const found = await shownAuthorities(server);
  if (found.length === 0) throw new Error("the server sent an empty trust bundle");
  log.warn("Accepted the trust bundle of the first server that answered", {
    fingerprints: found.map(sha256Fingerprint),
  });
  return found;
}

/**
 * @param fingerprints SHA-256 of the certificates that a join word names, lower-case hex
 * @returns those of the server's X.509 authorities, DER, never empty
 * @throws StrangeServerError when it shows none of them; Error or StatusError
 */
export async function namedAuthorities(
  server: ServerAddress,
  fingerprints: readonly string[],
  log: Log,
): Promise<readonly Uint8Array[]> {
  const shown = await shownAuthorities(server);
  const byFingerprint = new Map(shown.map((der) => [sha256Fingerprint(der), der]));
  const named = fingerprints.flatMap((fingerprint) => byFingerprint.get(fingerprint) ?? []);
  if (named.length === 0) throw strange(server, [...byFingerprint.keys()], fingerprints);
  for (const der of named) Certificate.parse(der);
  log.info("Accepted the server's trust bundle, which matches the join word", {
    fingerprints: named.map(sha256Fingerprint),
  });
  return named;
}

async function shownAuthorities(server: ServerAddress): Promise<readonly Uint8Array[]> {
  const { address, credentials, options } = tlsChannel({
    host: server.serverAddress,
    port: server.serverPort,
    policy: server.tlsPolicy,
    verifyServer: () => {},
  });
  const limit = { "grpc.max_receive_message_length": MAX_ANSWER_BYTES };
  const client = new BundleClient(address, credentials, { ...options, ...limit });
  try {
    const request = { outputMask: undefined };
    const bundle = await callUnary(client, "getBundle", request, { timeoutMs: TIMEOUT_MS });
    return bundle.x509Authorities.flatMap(({ asn1 }) => splitCertificates(asn1));
  } finally {
    client.close();
  }
}

function strange(
  server: ServerAddress,
  shown: readonly string[],
  named: readonly string[],
): StrangeServerError {
  const more = shown.length > MAX_SHOWN ? ` and ${shown.length - MAX_SHOWN} more` : "";
  const has = shown.length === 0 ? "none" : shown.slice(0, MAX_SHOWN).join(", ") + more;
  return new StrangeServerError(
    `the server at ${placeOf(server)} has none of the authorities that the join word names (SHA-256 of the certificates): it shows ${has}; the word names ${named.join(", ")}. ${ADVICE}`,
  );
}

/** What a server whose own certificate does not verify is to a node with a join word, though its bundle has an authority of the word. */
export function unvouchedServer(server: ServerAddress, cause: unknown): StrangeServerError {
  return new StrangeServerError(
    `the certificate of the server at ${placeOf(server)} is signed by none of the authorities that the join word names. ${ADVICE}`,
    { cause },
  );
}

const ADVICE =
  "The token was not sent. If the server has other authorities since the word was made, make a new word there (spire-server token generate -join); if not, somebody else answers at that address";

function placeOf({ serverAddress, serverPort }: ServerAddress): string {
  return formatHostPort({ host: serverAddress, port: serverPort });
}
