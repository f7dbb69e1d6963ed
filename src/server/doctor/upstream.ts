import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import type { ServerConfig } from "#server/config.ts";
import { errorText } from "#spiffe/status-error.ts";
import { checkAuthority } from "#upstream/disk/authority.ts";
import { loadAuthority } from "#upstream/disk/load.ts";

/** An upstream CA in files: whether they fit, and whether what is signed below it can live as long as it is to. @param now Unix seconds */
export async function checkUpstream(
  { plugins: { upstreamAuthority: config }, caTtlSeconds }: ServerConfig,
  now: number,
): Promise<readonly Finding[]> {
  if (config?.name !== "disk") return [];
  const check = "upstream_authority";
  const replace = "put the files of the next upstream CA in place; the server notices by itself";
  try {
    const { notAfter } = checkAuthority(await loadAuthority(config), now);
    const shown = `the upstream CA is good until ${whenText(notAfter, now)}`;
    if (notAfter >= now + caTtlSeconds) return [ok(check, shown)];
    return [warn(check, `${shown}, so that this server's CA ends before its ca_ttl`, replace)];
  } catch (error) {
    return [fail(check, errorText(error), replace)];
  }
}
