import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { obeyed } from "#files/obeyed.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { privateKeyFromPem } from "#x509/keys.ts";
import { readCertificatesFromPem } from "#x509/pem.ts";
import { readPkcs12 } from "#x509/pkcs12.ts";
import { isSelfSigned } from "#x509/self-signed.ts";
import type { AuthorityParts } from "./authority.ts";

/** Where the authority lies: in PEM files, or in a PKCS#12 file. */
export interface AuthorityFiles {
  readonly certFilePath?: string;
  readonly keyFilePath?: string;
  /** The roots. Without it the authority must be self-signed, or the PKCS#12 file hold its root. */
  readonly bundleFilePath?: string;
  readonly pkcs12FilePath?: string;
  /** A file with the password alone; a final newline is not part of it. Without it the password is empty. */
  readonly pkcs12PasswordFile?: string;
}

/**
 * Reads the authority's files. Nothing is checked here but their form.
 *
 * @throws Error naming the file
 */
export async function loadAuthority(config: AuthorityFiles): Promise<AuthorityParts> {
  const { pkcs12FilePath, certFilePath, keyFilePath } = config;
  if (pkcs12FilePath !== undefined) {
    if (certFilePath !== undefined || keyFilePath !== undefined) {
      throw new Error(
        "either pkcs12_file_path or cert_file_path and key_file_path can be set, not both",
      );
    }
    return await fromPkcs12(pkcs12FilePath, config);
  }
  if (certFilePath === undefined || keyFilePath === undefined) {
    throw new Error("'cert_file_path' and 'key_file_path' must be set and not empty");
  }
  return await fromPem(certFilePath, keyFilePath, config.bundleFilePath);
}

/** Tells whether the files hold what they held before. @throws Error when one cannot be read */
export async function contentDigest(config: AuthorityFiles): Promise<string> {
  const { certFilePath, keyFilePath, bundleFilePath, pkcs12FilePath, pkcs12PasswordFile } = config;
  const hash = createHash("sha256");
  for (const path of [
    certFilePath,
    keyFilePath,
    bundleFilePath,
    pkcs12FilePath,
    pkcs12PasswordFile,
  ]) {
    if (path === undefined) continue;
    const content = await readFile(obeyed(path));
    hash.update(`${content.length}:`).update(content);
  }
  return hash.digest("hex");
}

async function fromPem(
  certFilePath: string,
  keyFilePath: string,
  bundleFilePath: string | undefined,
): Promise<AuthorityParts> {
  const privateKey = await fromFile("unable to load upstream CA key", keyFilePath, (bytes) =>
    privateKeyFromPem(bytes.toString("utf8")),
  );
  const [certificate, ...intermediates] = await fromFile(
    "unable to load upstream CA cert",
    certFilePath,
    pemCertificates,
  );
  if (certificate === undefined) throw new Error(`${certFilePath} holds no certificate`);
  const files = { certificate: certFilePath, key: keyFilePath };
  if (bundleFilePath !== undefined) {
    const roots = await loadBundle(bundleFilePath);
    return { privateKey, certificate, intermediates, roots, files };
  }
  // A root that is not self-signed satisfies only some verifiers.
  if (intermediates.length > 0 || !certificate.isSelfIssued) {
    throw new Error(
      `${certFilePath}: with no bundle_file_path configured only self-signed CAs are supported`,
    );
  }
  return { privateKey, certificate, intermediates, roots: [certificate], files };
}

async function fromPkcs12(path: string, config: AuthorityFiles): Promise<AuthorityParts> {
  const { pkcs12PasswordFile, bundleFilePath } = config;
  const password =
    pkcs12PasswordFile === undefined
      ? ""
      : await fromFile("unable to load the password", pkcs12PasswordFile, (bytes) =>
          bytes.toString("utf8").replace(/\r?\n$/, ""),
        );
  return await withBundle(
    await fromFile("unable to load upstream CA", path, async (bytes) => ({
      ...(await pkcs12Parts(bytes, password)),
      files: { certificate: path, key: path },
    })),
    bundleFilePath,
  );
}

/** The bundle decides whom to trust; only without one are the roots in the PKCS#12 file taken. */
async function withBundle(
  parts: AuthorityParts,
  bundleFilePath: string | undefined,
): Promise<AuthorityParts> {
  if (bundleFilePath === undefined) {
    if (parts.roots.length > 0) return parts;
    throw new Error(
      `${parts.files.certificate}: the PKCS#12 file holds no self-signed root; set bundle_file_path`,
    );
  }
  return { ...parts, roots: await loadBundle(bundleFilePath) };
}

async function pkcs12Parts(
  bytes: Uint8Array,
  password: string,
): Promise<Omit<AuthorityParts, "files">> {
  const { privateKey, certificate, others } = await readPkcs12(bytes, password);
  const roots = [certificate, ...others].filter(isSelfSigned);
  return { privateKey, certificate, intermediates: others, roots };
}

function loadBundle(path: string): Promise<readonly Certificate[]> {
  return fromFile("unable to load upstream CA bundle", path, pemCertificates);
}

function pemCertificates(bytes: Buffer): Certificate[] {
  return readCertificatesFromPem(bytes.toString("utf8"), Certificate.parse);
}

async function fromFile<T>(
  words: string,
  path: string,
  parse: (bytes: Buffer) => T | Promise<T>,
): Promise<T> {
  try {
    return await parse(await readFile(obeyed(path)));
  } catch (error) {
    throw new Error(`${words}: ${path}: ${errorText(error)}`);
  }
}
