import { createHash } from "node:crypto";

/** SHA-256 over the whole certificate, lowercase hex. */
export function sha256Fingerprint(certificate: Uint8Array): string {
  return createHash("sha256").update(certificate).digest("hex");
}
