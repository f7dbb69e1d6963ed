/** The certificate and key that an https_web endpoint serves with, from files that somebody else renews. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Clock } from "#clock/clock.ts";
import type { TlsIdentity } from "#grpc/tls-listener.ts";
import type { Log } from "#log/log.ts";
import { type PeriodicTask, periodically } from "#server/periodic.ts";
import { errorText } from "#spiffe/status-error.ts";
import { privateKeyFromPem } from "#x509/keys.ts";
import { certificatesFromPem } from "#x509/pem.ts";

export interface ServingCertificateFiles {
  readonly certFilePath: string;
  readonly keyFilePath: string;
  readonly fileSyncIntervalSeconds: number;
}

/** @throws Error naming the file that cannot be read, or saying that key and certificate do not match */
export async function loadServingCertificate(files: ServingCertificateFiles): Promise<TlsIdentity> {
  try {
    const identity = await readFiles(files);
    checkPair(identity, files);
    return identity;
  } catch (error) {
    throw new Error(`failed to load certificate: ${errorText(error)}`, { cause: error });
  }
}

/** Files that are looked at every so often. */
export interface CertificateWatch extends PeriodicTask {
  /** Looks at them now. What is wrong with them is logged. */
  lookNow(): Promise<void>;
}

/**
 * Looks at the files every so often. Files that are not a pair, as while one of them is being replaced, are not used: the pair before them
 * stays, and the next look finds them whole.
 *
 * @param loaded what is served now
 * @param onChange called with each new pair
 */
export function watchServingCertificate(
  files: ServingCertificateFiles,
  loaded: TlsIdentity,
  onChange: (identity: TlsIdentity) => void,
  tools: { readonly clock: Clock; readonly log: Log },
): CertificateWatch {
  const { log } = tools;
  let current = loaded;
  let problem: string | undefined;
  const look = async (): Promise<void> => {
    try {
      const found = await loadServingCertificate(files);
      problem = undefined;
      if (sameIdentity(found, current)) return;
      onChange(found);
      current = found;
      log.info("Loaded provided certificate with success");
    } catch (error) {
      // Said once: the files may stay like that for a long time.
      if (problem !== errorText(error)) log.error("Could not reload the certificate", { error });
      problem = errorText(error);
    }
  };
  const intervalMs = files.fileSyncIntervalSeconds * 1000;
  const task = periodically("reload the serving certificate", intervalMs, look, tools);
  return { stop: () => task.stop(), lookNow: look };
}

async function readFiles(files: ServingCertificateFiles): Promise<TlsIdentity> {
  const [certificateChainPem, privateKeyPem] = await Promise.all([
    readFile(files.certFilePath, "utf8"),
    readFile(files.keyFilePath, "utf8"),
  ]);
  return { certificateChainPem, privateKeyPem };
}

function checkPair(identity: TlsIdentity, files: ServingCertificateFiles): void {
  const key = inFile(files.keyFilePath, () => privateKeyFromPem(identity.privateKeyPem));
  const leaf = inFile(files.certFilePath, () => {
    // The TLS stack would leave out what it cannot read.
    const [first = ""] = certificatesFromPem(identity.certificateChainPem);
    return new X509Certificate(first);
  });
  if (leaf.checkPrivateKey(key)) return;
  throw new Error(
    `the key in ${files.keyFilePath} is not that of the certificate in ${files.certFilePath}`,
  );
}

function inFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${path}: ${errorText(error)}`, { cause: error });
  }
}

function sameIdentity(one: TlsIdentity, other: TlsIdentity): boolean {
  return (
    one.certificateChainPem === other.certificateChainPem &&
    one.privateKeyPem === other.privateKeyPem
  );
}
