import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import { isCredential } from "#config/credential.ts";
import type { ServerConfig } from "#server/config/config.ts";
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
  const { certFilePath, keyFilePath, bundleFilePath, pkcs12FilePath, pkcs12PasswordFile } = config;
  const files = [certFilePath, keyFilePath, bundleFilePath, pkcs12FilePath, pkcs12PasswordFile];
  if (files.some((path) => path !== undefined && isCredential(path))) {
    return [ok(check, "not looked at: its files are credentials of the server's unit")];
  }
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
