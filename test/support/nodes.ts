/** Nodes with certificates of a company's own authorities, their files, and what a server says of them. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Certificate } from "#x509/certificate.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { type Made, make, type Wish } from "#x509/pki.fixture.ts";
import type { TestServer } from "./spire.ts";

export const now: number = Math.floor(Date.now() / 1000);
/** For a day from now on. */
export const valid: { readonly notBefore: number; readonly notAfter: number } = {
  notBefore: now - 3600,
  notAfter: now + 24 * 3600,
};

export const root: Made = await make({ ...valid, name: "Corp Root", isCa: true });
export const issuing: Made = await make({
  ...valid,
  name: "Corp Issuing",
  isCa: true,
  issuer: root,
});
export const otherRoot: Made = await make({ ...valid, name: "Other Root", isCa: true });

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface Node {
  readonly privateKey: KeyObject;
  readonly chain: readonly Certificate[];
}

export const ecKey = (namedCurve: string): KeyPair => generateKeyPairSync("ec", { namedCurve });
export const rsaKey = (modulusLength: number): KeyPair =>
  generateKeyPairSync("rsa", { modulusLength });

/** A node below the issuing authority, whatever else is wished for. */
export async function node(
  wish: Partial<Wish> = {},
  key: KeyPair = ecKey("P-256"),
  above: readonly Made[] = [issuing],
): Promise<Node> {
  const publicKeySpki = key.publicKey.export({ type: "spki", format: "der" });
  const leaf = await make({ ...valid, name: "node-1", issuer: issuing, publicKeySpki, ...wish });
  const chain = [leaf, ...above].map(({ certificate }) => certificate);
  return { privateKey: key.privateKey, chain };
}

/** What `agent show` prints, of interest here. */
interface ShownAgent {
  readonly selectors: readonly { readonly type: string; readonly value: string }[];
  readonly can_reattest: boolean;
  readonly attestation_type: string;
  readonly x509svid_serial_number: string;
}

export async function shown(server: TestServer, id: string): Promise<ShownAgent> {
  return (await server.json("agent", "show", "-spiffeID", id)) as unknown as ShownAgent;
}

export async function selectorsOf(server: TestServer, id: string): Promise<string[]> {
  const { selectors } = await shown(server, id);
  return selectors.map(({ type, value }) => `${type}:${value}`).sort();
}

/** Writes what an agent's configuration names, and gives the configuration. */
export function plugin(directory: string, lines: Readonly<Record<string, string>>): string {
  const keys = Object.entries(lines).map(([key, content]) => {
    const path = join(directory, `${key}.pem`);
    writeFileSync(path, content, { mode: 0o600 });
    return `      ${key} = "${path}"`;
  });
  return `NodeAttestor "x509pop" {\n    plugin_data {\n${keys.join("\n")}\n    }\n  }`;
}

export const pkcs8 = (key: KeyObject): string =>
  String(key.export({ type: "pkcs8", format: "pem" }));
export const sec1 = (key: KeyObject): string => String(key.export({ type: "sec1", format: "pem" }));
export const pkcs1 = (key: KeyObject): string =>
  String(key.export({ type: "pkcs1", format: "pem" }));
export const pem = (chain: readonly Certificate[]): string =>
  certificatesToPem(chain.map((one) => one.der));

export function fingerprint(certificate: Certificate | undefined): string {
  return new Bun.CryptoHasher("sha1").update(certificate?.der ?? "").digest("hex");
}

export function hex(certificate: Certificate | undefined): string {
  const digits = (certificate?.serialNumber ?? 0n).toString(16);
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}
