/**
 * The UpstreamAuthority `offline`: a CA that is on no network. This adapter has the files between the server and whoever carries
 * them; what is in them is for the CA Manager to judge. Opened by its plugin, called by the CA Manager.
 */

import { rm } from "node:fs/promises";
import { writeFileAtomically } from "#files/atomic-write.ts";
import { obeyed } from "#files/obeyed.ts";
import { readBounded } from "#files/read-bounded.ts";
import { writeError } from "#files/write-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { OfflineAuthority } from "#upstream/upstream-authority.ts";
import { Certificate } from "#x509/certificate.ts";
import { readCertificatesFromPem } from "#x509/pem.ts";
import type { OfflineUpstreamConfig } from "./config.ts";

/** A request holds nothing secret, and whoever carries it need not be the server's user. */
const REQUEST_MODE = 0o644;
const REQUEST_MARK = "-----BEGIN CERTIFICATE REQUEST-----";
const MAX_FILE_BYTES = 256 * 1024;

/**
 * Opens the authority.
 *
 * @throws Error when the configured roots cannot be read: better at start than at the ceremony
 */
export async function openOfflineUpstreamAuthority(
  config: OfflineUpstreamConfig,
): Promise<OfflineUpstreamAuthority> {
  const authority = new OfflineUpstreamAuthority(config);
  await authority.trustAnchors();
  return authority;
}

export class OfflineUpstreamAuthority implements OfflineAuthority {
  readonly name: string = "offline";
  #config: OfflineUpstreamConfig;
  /** What was at import_path when it was last looked at: the same file is not tried twice. */
  #lastAnswer = "";

  constructor(config: OfflineUpstreamConfig) {
    this.#config = config;
  }

  /** Uses other files from now on. @throws Error when the configured roots cannot be read; nothing has changed then */
  async configure(config: OfflineUpstreamConfig): Promise<void> {
    await anchorsOf(config);
    if (config.csrPath !== this.csrPath) await this.removeRequest();
    this.#config = config;
    this.#lastAnswer = "";
  }

  get csrPath(): string {
    return this.#config.csrPath;
  }

  get warnBeforeSeconds(): number {
    return this.#config.warnBeforeSeconds;
  }

  async putRequest(pem: string): Promise<void> {
    try {
      if ((await readIfThere(this.csrPath)) === pem) return;
      await writeFileAtomically(this.csrPath, pem, REQUEST_MODE);
    } catch (error) {
      throw writeError(this.csrPath, error);
    }
  }

  async removeRequest(): Promise<void> {
    // A path that was meant for something else must not cost anybody a file.
    if ((await readIfThere(this.csrPath))?.startsWith(REQUEST_MARK) !== true) return;
    await rm(this.csrPath, { force: true });
  }

  trustAnchors(): Promise<readonly Uint8Array[] | undefined> {
    return anchorsOf(this.#config);
  }

  async newAnswer(): Promise<readonly Uint8Array[] | undefined> {
    const { importPath } = this.#config;
    if (importPath === undefined) return undefined;
    const text = (await readIfThere(importPath)) ?? "";
    if (text === this.#lastAnswer) return undefined;
    this.#lastAnswer = text;
    return text === "" ? undefined : certificatesIn(importPath, text);
  }
}

async function anchorsOf({
  rootCertPath,
}: OfflineUpstreamConfig): Promise<readonly Uint8Array[] | undefined> {
  if (rootCertPath === undefined) return undefined;
  const text = await readIfThere(obeyed(rootCertPath));
  if (text === undefined) throw new Error(`root_cert_path: there is no file ${rootCertPath}`);
  return certificatesIn(rootCertPath, text);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readBounded(path, MAX_FILE_BYTES)).toString("utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`${path}: ${errorText(error)}`, { cause: error });
  }
}

function certificatesIn(path: string, text: string): Uint8Array[] {
  try {
    return readCertificatesFromPem(text, Certificate.parse).map(({ der }) => der);
  } catch (error) {
    throw new Error(`${path}: ${errorText(error)}`, { cause: error });
  }
}
