/** The node's certificate and key, as they lie in files. They are read anew for each attestation, so that a renewed certificate is used. */

import { createHash, createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { NodeIdentity } from "#attestors/attestor.ts";
import { obeyed } from "#files/obeyed.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { privateKeyFromPem } from "#x509/keys.ts";
import { readCertificatesFromPem } from "#x509/pem.ts";
import { readPkcs12 } from "#x509/pkcs12.ts";

export interface IdentityFiles {
  readonly privateKeyPath?: string;
  readonly certificatePath?: string;
  readonly intermediatesPath?: string;
  readonly pkcs12FilePath?: string;
  /** A file with the password alone; a final newline is not part of it. Without it the password is empty. */
  readonly pkcs12PasswordFile?: string;
}

export class IdentityReader {
  readonly #files: IdentityFiles;
  /** To open a PKCS#12 file may take long, so it is done again only when it holds something else. */
  #opened: { readonly digest: string; readonly identity: NodeIdentity } | undefined;

  constructor(files: IdentityFiles) {
    this.#files = files;
  }

  /** @throws Error naming the file, never with a part of the key or the password */
  async read(): Promise<NodeIdentity> {
    const { pkcs12FilePath, privateKeyPath, certificatePath, intermediatesPath } = this.#files;
    const identity =
      pkcs12FilePath === undefined
        ? await fromPem(privateKeyPath ?? "", certificatePath ?? "")
        : await this.#fromPkcs12(pkcs12FilePath);
    if (intermediatesPath === undefined) return identity;
    const what = "unable to load intermediate certificates";
    const more = await fromFile(what, intermediatesPath, pemCertificates);
    return { ...identity, certificates: [...identity.certificates, ...more] };
  }

  async #fromPkcs12(path: string): Promise<NodeIdentity> {
    const { pkcs12PasswordFile } = this.#files;
    const password =
      pkcs12PasswordFile === undefined
        ? ""
        : await fromFile("unable to load the password", pkcs12PasswordFile, (bytes) =>
            bytes.toString("utf8").replace(/\r?\n$/, ""),
          );
    return await fromFile("unable to load keypair", path, async (bytes) => {
      const digest = createHash("sha256").update(bytes).update(password).digest("hex");
      if (this.#opened?.digest !== digest) {
        this.#opened = { digest, identity: await opened(bytes, password) };
      }
      return this.#opened.identity;
    });
  }
}

async function opened(bytes: Uint8Array, password: string): Promise<NodeIdentity> {
  const { privateKey, certificate, others } = await readPkcs12(bytes, password);
  // The server has its roots from elsewhere, and counts what it is sent.
  const intermediates = others.filter(({ isSelfIssued }) => !isSelfIssued);
  return { privateKey, certificates: [certificate, ...intermediates].map(({ der }) => der) };
}

async function fromPem(keyPath: string, certificatePath: string): Promise<NodeIdentity> {
  const what = "unable to load keypair";
  const privateKey = await fromFile(what, keyPath, (bytes) =>
    privateKeyFromPem(bytes.toString("utf8")),
  );
  const certificates = await fromFile(what, certificatePath, pemCertificates);
  const [leaf = new Uint8Array()] = certificates;
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  if (Buffer.compare(Certificate.parse(leaf).publicKeySpki, spki) !== 0) {
    throw new Error(
      `${what}: the private key in ${keyPath} does not match the certificate in ${certificatePath}`,
    );
  }
  return { privateKey, certificates };
}

function pemCertificates(bytes: Buffer): Uint8Array[] {
  return readCertificatesFromPem(bytes.toString("utf8"), Certificate.parse).map(({ der }) => der);
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
