import { utcTime } from "#cli/go-time.ts";
import type { Authority } from "#proto/spire_edge/ca/v1/ca.ts";

/** An X.509 authority in lines, indented below its title. */
export function authorityText(authority: Authority): string {
  const { authorityId, subject, notBefore, notAfter, pathLength, upstreamAuthorityId } = authority;
  const lines = [`Authority ID: ${authorityId}`];
  // Of an old one its certificate is not known any more.
  if (subject !== "") {
    lines.push(`Subject: ${subject}`, `Begins at: ${utcTime(notBefore)}`);
  }
  lines.push(`Expires at: ${utcTime(notAfter)}`);
  if (subject !== "") lines.push(`Path length: ${pathLength ?? "no limit"}`);
  lines.push(
    upstreamAuthorityId === ""
      ? "Upstream authority ID: No upstream authority"
      : `Upstream authority Subject Key ID: ${upstreamAuthorityId}`,
  );
  return lines.map((line) => `  ${line}\n`).join("");
}
