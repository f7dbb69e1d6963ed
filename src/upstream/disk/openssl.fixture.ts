/** Certificate authorities made by the real openssl, for the tests of this folder. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certificatesToPem } from "#x509/pem.ts";

export type KeyKind =
  | "rsa-1024"
  | "rsa-2048"
  | "rsa-3072"
  | "rsa-4096"
  | "ec-p256"
  | "ec-p384"
  | "ec-p521"
  | "ed25519";
export type KeyForm = "pkcs8" | "traditional";

const KEY_OPTIONS: Readonly<Record<KeyKind, readonly string[]>> = {
  "rsa-1024": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
  "rsa-2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
  "rsa-3072": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
  "rsa-4096": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
  "ec-p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
  "ec-p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
  "ec-p521": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
  ed25519: ["-algorithm", "ED25519"],
};

export interface CaOptions {
  /** The name of the authority that signs; self-signed when left out. */
  readonly issuer?: string;
  readonly kind?: KeyKind;
  readonly form?: KeyForm;
  readonly days?: number;
  /** What its own signature is made with, for openssl. */
  readonly digest?: "sha1" | "md5";
  readonly extensions?: readonly string[];
}

const CA_EXTENSIONS = [
  "basicConstraints=critical,CA:TRUE",
  "keyUsage=critical,keyCertSign,cRLSign",
];

/** A folder in which `NAME.key` and `NAME.pem` belong together. */
export class Authorities {
  readonly directory: string = mkdtempSync(join(tmpdir(), "upstream-"));

  path(name: string): string {
    return join(this.directory, name);
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  write(name: string, ...texts: readonly string[]): string {
    writeFileSync(this.path(name), texts.join(""));
    return this.path(name);
  }

  /** Makes a key and its certificate. */
  ca(name: string, options: CaOptions = {}): void {
    this.key(name, options.kind ?? "ec-p256", options.form ?? "pkcs8");
    const extensions = [...(options.extensions ?? CA_EXTENSIONS), "subjectKeyIdentifier=hash"];
    const subject = ["-subj", `/C=DE/O=Corp/CN=${name}`];
    this.openssl(
      "req",
      "-new",
      "-key",
      this.path(`${name}.key`),
      ...subject,
      "-out",
      this.path("csr"),
    );
    const issuer = options.issuer;
    this.openssl(
      "x509",
      "-req",
      "-in",
      this.path("csr"),
      "-days",
      String(options.days ?? 30),
      ...(options.digest === undefined ? [] : [`-${options.digest}`]),
      "-extfile",
      this.write("extensions", extensions.join("\n")),
      ...(issuer === undefined
        ? ["-signkey", this.path(`${name}.key`)]
        : [
            "-CA",
            this.path(`${issuer}.pem`),
            "-CAkey",
            this.path(`${issuer}.key`),
            "-CAcreateserial",
          ]),
      "-out",
      this.path(`${name}.pem`),
    );
  }

  /** @returns the path of a PKCS#12 file with the authority's key, its certificate, and others above it */
  pkcs12(name: string, password: string, above: readonly string[], ...options: string[]): string {
    const certificates = this.write("above", ...above.map((one) => this.read(`${one}.pem`)));
    const path = this.path(`${name}.p12`);
    const key = ["-inkey", this.path(`${name}.key`), "-in", this.path(`${name}.pem`)];
    const others = above.length === 0 ? [] : ["-certfile", certificates];
    this.openssl(
      "pkcs12",
      "-export",
      ...key,
      ...others,
      "-passout",
      `pass:${password}`,
      "-out",
      path,
      ...options,
    );
    return path;
  }

  /** What openssl thinks of a minted chain: "…: OK". @throws when it does not verify */
  verify(chain: readonly Uint8Array[], roots: readonly Uint8Array[]): string {
    const trusted = this.write("roots", certificatesToPem(roots));
    const others = this.write("untrusted", certificatesToPem(chain.slice(1)));
    const untrusted = chain.length > 1 ? ["-untrusted", others] : [];
    const minted = this.write("minted", certificatesToPem(chain.slice(0, 1)));
    return this.openssl("verify", "-x509_strict", "-CAfile", trusted, ...untrusted, minted);
  }

  openssl(...options: readonly string[]): string {
    return execFileSync("openssl", options, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  private key(name: string, kind: KeyKind, form: KeyForm): void {
    const path = this.path(`${name}.key`);
    const modern = form === "traditional" ? this.path("modern") : path;
    this.openssl("genpkey", ...KEY_OPTIONS[kind], "-out", modern);
    // PKCS#1 or SEC1, as older tools write them.
    if (form === "traditional") this.openssl("pkey", "-in", modern, "-traditional", "-out", path);
  }
}
