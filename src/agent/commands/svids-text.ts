import type { WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import { utcTime } from "#cli/go-time.ts";
import { formatDuration } from "#config/duration.ts";
import type { Certificate } from "#x509/certificate.ts";

/**
 * The SVIDs as text: identities and validity, never key material.
 *
 * @param afterSeconds how long the answer took
 * @param label how the SPIFFE ID of a federated trust domain is shown
 */
export function svidsText(
  svids: readonly WorkloadSvid[],
  afterSeconds: number,
  label: (trustDomainId: string) => string,
): string {
  const count = `${svids.length} svid${svids.length === 1 ? "" : "s"}`;
  const lines = [`Received ${count} after ${formatDuration(afterSeconds)}`];
  for (const svid of svids) {
    lines.push("", `SPIFFE ID:\t\t${svid.id}`);
    if (svid.hint !== "") lines.push(`Hint:\t\t\t${svid.hint}`);
    const [leaf, ...intermediates] = svid.certificates;
    if (leaf !== undefined) lines.push(...validity("SVID", leaf));
    lines.push(...numbered("Intermediate", intermediates), ...numbered("CA", svid.bundle));
    for (const [id, bundle] of svid.federatedBundles) {
      lines.push(...numbered(`[${label(id)}] CA`, bundle));
    }
  }
  return `${lines.join("\n")}\n\n`;
}

function numbered(what: string, certificates: readonly Certificate[]): string[] {
  return certificates.flatMap((one, index) => validity(`${what} #${index + 1}`, one));
}

function validity(what: string, { notBefore, notAfter }: Certificate): string[] {
  return [
    `${what} Valid After:\t${utcTime(notBefore)}`,
    `${what} Valid Until:\t${utcTime(notAfter)}`,
  ];
}
