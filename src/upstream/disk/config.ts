/** The keys of server.conf's `UpstreamAuthority "disk"`. */
import type { Block, Problems } from "#config/block.ts";
import type { AuthorityFiles } from "./load.ts";

export interface DiskUpstreamConfig extends AuthorityFiles {
  readonly name: "disk";
}

/** Reads `plugin_data`. What is wrong goes to the problems. */
export function readDiskUpstreamConfig(data: Block, problems: Problems): DiskUpstreamConfig {
  const path = (key: string): string | undefined => data.path(key) || undefined;
  const cert = path("cert_file_path");
  const key = path("key_file_path");
  const bundle = path("bundle_file_path");
  const pkcs12 = path("pkcs12_file_path");
  const password = path("pkcs12_password_file");
  if (pkcs12 === undefined && (cert === undefined || key === undefined)) {
    problems.add(
      `UpstreamAuthority "disk": 'cert_file_path' and 'key_file_path' must be set and not empty, or 'pkcs12_file_path'`,
    );
  }
  return {
    name: "disk",
    ...(cert === undefined ? {} : { certFilePath: cert }),
    ...(key === undefined ? {} : { keyFilePath: key }),
    ...(bundle === undefined ? {} : { bundleFilePath: bundle }),
    ...(pkcs12 === undefined ? {} : { pkcs12FilePath: pkcs12 }),
    ...(password === undefined ? {} : { pkcs12PasswordFile: password }),
  };
}
