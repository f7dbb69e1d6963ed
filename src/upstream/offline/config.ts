import { join } from "node:path";
import type { Block, Problems } from "#config/block.ts";

const DAY_SECONDS = 24 * 3600;
const DEFAULT_WARN_BEFORE_SECONDS = 30 * DAY_SECONDS;
/** Whoever wants to be warned less than an hour ahead has no ceremony to prepare. */
const LEAST_WARN_BEFORE_SECONDS = 3600;

/** Where requests go and signed certificates come from. */
export interface OfflineUpstreamConfig {
  readonly name: "offline";
  /** Where csrPath is unless it is set. */
  readonly dataDir: string;
  readonly csrPath: string;
  /** The roots that alone may stand above the CA; absent, the operator names the root with the certificate. */
  readonly rootCertPath?: string;
  /** A file that is taken as the answer as soon as it appears; only with rootCertPath. */
  readonly importPath?: string;
  readonly warnBeforeSeconds: number;
}

/** Reads `plugin_data`. What is wrong goes to the problems. */
export function readOfflineUpstreamConfig(
  data: Block,
  dataDir: string,
  problems: Problems,
): OfflineUpstreamConfig {
  const complain = (text: string, key: string): void =>
    problems.add(`UpstreamAuthority "offline": ${text}`, data.lineOf(key));
  const csrPath = data.string("csr_path") || join(dataDir, "server-ca.csr");
  const rootCertPath = data.string("root_cert_path") || undefined;
  const importPath = data.string("import_path") || undefined;
  const warnBeforeSeconds =
    data.duration("warn_before", "could not parse warn_before") ?? DEFAULT_WARN_BEFORE_SECONDS;
  if (warnBeforeSeconds < LEAST_WARN_BEFORE_SECONDS) {
    complain("warn_before must be at least an hour", "warn_before");
  }
  if (importPath !== undefined && rootCertPath === undefined) {
    // Whoever may write that one file would otherwise choose whom the whole trust domain trusts.
    complain("import_path needs root_cert_path, the roots that a file may lead to", "import_path");
  }
  return {
    name: "offline",
    dataDir,
    csrPath,
    ...(rootCertPath === undefined ? {} : { rootCertPath }),
    ...(importPath === undefined ? {} : { importPath }),
    warnBeforeSeconds,
  };
}
