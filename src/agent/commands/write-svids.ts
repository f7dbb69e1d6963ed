import { join } from "node:path";
import type { WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import { fileProblem } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import { writeFileAtomically } from "#files/atomic-write.ts";
import type { Certificate } from "#x509/certificate.ts";
import { certificatesToPem, encodePem } from "#x509/pem.ts";

const PUBLIC_MODE = 0o644;
const PRIVATE_MODE = 0o600;

/** Writes each SVID, its key and its bundles into the directory, and says so. @throws Error */
export async function writeSvids(
  svids: readonly WorkloadSvid[],
  directory: string,
  io: Io,
): Promise<void> {
  for (const [index, svid] of svids.entries()) {
    const at = (name: string): string => join(directory, name);
    const certificate = at(`svid.${index}.pem`);
    io.out(`Writing SVID #${index} to file ${certificate}.\n`);
    await write(certificate, pem(svid.certificates), PUBLIC_MODE);
    const key = at(`svid.${index}.key`);
    io.out(`Writing key #${index} to file ${key}.\n`);
    await write(key, encodePem("PRIVATE KEY", svid.privateKey), PRIVATE_MODE);
    const bundle = at(`bundle.${index}.pem`);
    io.out(`Writing bundle #${index} to file ${bundle}.\n`);
    await write(bundle, pem(svid.bundle), PUBLIC_MODE);
    for (const [number, [id, certificates]] of svid.federatedBundles.entries()) {
      const path = at(`federated_bundle.${index}.${number}.pem`);
      io.out(`Writing federated bundle #${number} for trust domain ${id} to file ${path}.\n`);
      await write(path, pem(certificates), PUBLIC_MODE);
    }
  }
}

function pem(certificates: readonly Certificate[]): string {
  return certificatesToPem(certificates.map(({ der }) => der));
}

async function write(path: string, data: string, mode: number): Promise<void> {
  try {
    await writeFileAtomically(path, data, mode);
  } catch (error) {
    throw new Error(`open ${path}: ${fileProblem(error)}`, { cause: error });
  }
}
