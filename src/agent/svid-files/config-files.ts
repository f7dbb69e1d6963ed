/** Which files an output has: the names of SPIFFE Helper's keys, and some more. */
import { readFileSync } from "node:fs";
import type { Block, Problems } from "#config/block.ts";
import { errorText } from "#spiffe/status-error.ts";

export interface JwtSvidFile {
  readonly name: string;
  readonly audience: readonly string[];
}

/** Names without a directory; absent files are not written. */
export interface FilesConfig {
  readonly certificates?: string;
  readonly key?: string;
  readonly bundle?: string;
  /** Certificates and key in one. */
  readonly combined?: string;
  /** With `%s` for the name of the trust domain. */
  readonly federatedBundles?: string;
  readonly pkcs12?: { readonly name: string; readonly password: string };
  readonly jwtBundle?: string;
  readonly federatedJwtBundles?: string;
  readonly jwtSvids: readonly JwtSvidFile[];
  readonly includeFederatedDomains: boolean;
  readonly intermediatesInBundle: boolean;
  readonly modes: {
    readonly certificates: number;
    readonly key: number;
    readonly jwtBundle: number;
    readonly jwtSvid: number;
  };
}

const KEYS = {
  certificates: "svid_file_name",
  key: "svid_key_file_name",
  bundle: "svid_bundle_file_name",
  combined: "combined_file_name",
  jwtBundle: "jwt_bundle_file_name",
} as const;

/** These have one file for each trust domain. */
const PATTERN_KEYS = {
  federatedBundles: "federated_bundle_file_name",
  federatedJwtBundles: "federated_jwt_bundle_file_name",
} as const;

export function readFiles(block: Block, problems: Problems): FilesConfig {
  const names = {
    ...readNames(block, KEYS, problems),
    ...readNames(block, PATTERN_KEYS, problems),
  };
  for (const [key, name] of Object.entries(PATTERN_KEYS)) {
    const pattern = names[key as keyof typeof PATTERN_KEYS];
    if (pattern !== undefined && pattern.split("%s").length !== 2) {
      problems.add(`${name} must have %s once, for the trust domain`, block.lineOf(name));
    }
  }
  const mode = (key: string, otherwise: number): number =>
    readMode(block, key, otherwise, problems);
  const files: FilesConfig = {
    ...names,
    ...readPkcs12Names(block, problems),
    jwtSvids: readJwtSvids(block, problems),
    includeFederatedDomains: block.boolean("include_federated_domains") ?? false,
    intermediatesInBundle: block.boolean("add_intermediates_to_bundle") ?? false,
    modes: {
      certificates: mode("cert_file_mode", 0o644),
      key: mode("key_file_mode", 0o600),
      jwtBundle: mode("jwt_bundle_file_mode", 0o600),
      jwtSvid: mode("jwt_svid_file_mode", 0o600),
    },
  };
  checkNames(files, block, problems);
  return files;
}

/** Whether everybody may read a private key. */
export function isKeyOpen({ key, combined, pkcs12, modes }: FilesConfig): boolean {
  return (key ?? combined ?? pkcs12) !== undefined && (modes.key & 0o004) !== 0;
}

export function wantsJwtBundles({ jwtBundle, federatedJwtBundles }: FilesConfig): boolean {
  return (jwtBundle ?? federatedJwtBundles) !== undefined;
}

function readNames<T extends Readonly<Record<string, string>>>(
  block: Block,
  keys: T,
  problems: Problems,
): { readonly [P in keyof T]?: string } {
  const names: Record<string, string> = {};
  for (const [field, key] of Object.entries(keys)) {
    const name = readName(block, key, problems);
    if (name !== undefined) names[field] = name;
  }
  return names as { readonly [P in keyof T]?: string };
}

function readName(block: Block, key: string, problems: Problems): string | undefined {
  const name = block.string(key) ?? "";
  if (name === "") return undefined;
  // Names that begin with two dots are the file set's own.
  if (!/^(?!\.\.)[^/\0]+$/.test(name) || name === ".") {
    problems.add(
      `${key} ${JSON.stringify(name)} is no name of a file in cert_dir`,
      block.lineOf(key),
    );
  }
  return name;
}

function readPkcs12Names(block: Block, problems: Problems): Pick<FilesConfig, "pkcs12"> {
  const name = readName(block, "pkcs12_file_name", problems);
  const file = block.string("pkcs12_password_file") ?? "";
  if ((name === undefined) !== (file === "")) {
    problems.add("pkcs12_file_name and pkcs12_password_file go together", block.line);
  }
  if (name === undefined || file === "") return {};
  const password = block.convert("pkcs12_password_file", "pkcs12_password_file", () =>
    readPassword(file),
  );
  return password === undefined ? {} : { pkcs12: { name, password } };
}

/** The first line of the file. @throws Error, never with the password */
function readPassword(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "latin1");
  } catch (error) {
    throw new Error(errorText(error));
  }
  const [password = ""] = text.split(/\r?\n/);
  if (!/^[\x20-\x7e]+$/.test(password)) {
    throw new Error("its first line must be the password, of printable ASCII characters");
  }
  return password;
}

function readJwtSvids(block: Block, problems: Problems): JwtSvidFile[] {
  return block.blocks("jwt_svids").map((one) => {
    const name = readName(one, "jwt_svid_file_name", problems);
    const audience = [one.string("jwt_audience") ?? "", ...one.strings("jwt_extra_audiences")];
    if (name === undefined || audience.includes("")) {
      problems.add("jwt_svids needs jwt_audience and jwt_svid_file_name", one.line);
    }
    one.finish();
    return { name: name ?? "", audience };
  });
}

/** Octal in HCL, as in `0640`. */
function readMode(block: Block, key: string, otherwise: number, problems: Problems): number {
  const mode = block.number(key) ?? 0;
  if (mode < 0 || mode > 0o777) {
    problems.add(`${key} must be between 0001 and 0777`, block.lineOf(key));
  }
  return mode === 0 ? otherwise : mode;
}

function checkNames(files: FilesConfig, block: Block, problems: Problems): void {
  const { certificates, key, bundle, combined, pkcs12, jwtBundle, jwtSvids } = files;
  const names = [certificates, key, bundle, combined, pkcs12?.name, jwtBundle]
    .concat(jwtSvids.map(({ name }) => name))
    .filter((name) => name !== undefined);
  if (names.length === 0) {
    problems.add(
      `there is nothing to write: name a file by ${Object.values(KEYS).join(", ")} or jwt_svids`,
      block.line,
    );
  }
  if (new Set(names).size < names.length) problems.add("two files have the same name", block.line);
}
