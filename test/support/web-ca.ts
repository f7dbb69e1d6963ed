/** A certification authority as the web has them, made by openssl, in a directory of its own. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./process.ts";

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

export class WebCa {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async make(directory: string): Promise<WebCa> {
    const ca = new WebCa(directory);
    const self = ["req", "-x509", ...NEW_KEY, "-subj", "/CN=CA", "-days", "2"];
    await ca.#openssl(...self, "-keyout", "ca.key", "-out", "ca.pem");
    return ca;
  }

  /** The CA's certificate, for SSL_CERT_FILE. */
  get file(): string {
    return join(this.#directory, "ca.pem");
  }

  /** Makes a certificate and its key. @param name its common name @param hosts the names that it is for */
  async issue(name: string, hosts: readonly string[] = ["localhost"]): Promise<void> {
    const request = ["req", ...NEW_KEY, "-subj", `/CN=${name}`];
    await this.#openssl(...request, "-keyout", `${name}.key`, "-out", `${name}.csr`);
    const names = hosts.map((host) => `DNS:${host}`).join(",");
    writeFileSync(join(this.#directory, "extensions"), `subjectAltName=${names}\n`);
    const by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
    const more = ["-extfile", "extensions", "-out", `${name}.pem`];
    await this.#openssl("x509", "-req", "-in", `${name}.csr`, ...by, ...more);
  }

  /** Puts a certificate, its key, or both where a server looks, as ACME clients do: whole files, by renaming. */
  install(name: string, kinds: readonly ("pem" | "key")[] = ["pem", "key"]): void {
    for (const kind of kinds) {
      const path = join(this.#directory, `new.${kind}`);
      writeFileSync(path, readFileSync(join(this.#directory, `${name}.${kind}`)));
      renameSync(path, join(this.#directory, `serving.${kind}`));
    }
  }

  /** The profile block of an endpoint that serves with the installed pair. */
  get profile(): string {
    return `profile "https_web" {
        serving_cert_file {
          cert_file_path = "${join(this.#directory, "serving.pem")}"
          key_file_path = "${join(this.#directory, "serving.key")}"
          file_sync_interval = "200ms"
        }
      }`;
  }

  async #openssl(...words: string[]): Promise<void> {
    const done = await run(["openssl", ...words], { cwd: this.#directory });
    if (done.code !== 0) throw new Error(done.stderr);
  }
}
