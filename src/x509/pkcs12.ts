/**
 * PKCS#12 files (RFC 7292), in which corporate authorities hand out a key, its certificate, and the certificates above. They are opened
 * aside; the key and the certificates go on to node:crypto and #x509 as DER.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { Worker } from "node:worker_threads";
import { Certificate } from "./certificate.ts";
import type { Pkcs12Parts } from "./pkcs12-parse.ts";

export interface Pkcs12Content {
  readonly privateKey: KeyObject;
  /** The certificate of the private key. */
  readonly certificate: Certificate;
  /** In the order of the file, which means nothing. */
  readonly others: readonly Certificate[];
}

/** To the thread that opens a file. */
export interface Pkcs12Request {
  readonly bytes: Uint8Array;
  readonly password: string;
}

/** From it: what the file holds, or what is wrong. */
export type Pkcs12Reply = { readonly parts: Pkcs12Parts } | { readonly problem: string };

/**
 * Opens a PKCS#12 file that holds one private key and a certificate for it, on a thread of its own that ends with it.
 *
 * @param password ASCII: writers disagree on how anything else is encoded
 * @throws Error saying why it cannot be opened; never with the password or a part of the key
 */
export async function readPkcs12(bytes: Uint8Array, password: string): Promise<Pkcs12Content> {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is the ASCII alphabet itself.
  if (!/^[\x00-\x7f]*$/.test(password)) {
    throw new Error(
      "the password has characters that are not ASCII; protect the file with one that has none",
    );
  }
  return pkcs12Content(await openAside({ bytes, password }));
}

/** What is of use in the parts of a file. @throws Error saying what is missing */
export function pkcs12Content({ privateKeys, certificates: ders }: Pkcs12Parts): Pkcs12Content {
  const [key, ...more] = privateKeys;
  if (key === undefined) throw new Error("it holds no private key");
  if (more.length > 0) throw new Error(`it holds ${privateKeys.length} private keys; expected one`);
  const certificates = ders.map(Certificate.parse);
  if (certificates.length === 0) throw new Error("it holds no certificate");
  const privateKey = createPrivateKey({ key: Buffer.from(key), format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const certificate = certificates.find(
    ({ publicKeySpki }) => Buffer.compare(publicKeySpki, spki) === 0,
  );
  if (certificate === undefined) throw new Error("it holds no certificate for its private key");
  return { privateKey, certificate, others: certificates.filter((one) => one !== certificate) };
}

async function openAside(workerData: Pkcs12Request): Promise<Pkcs12Parts> {
  const worker = new Worker(threadLocation(), { workerData });
  const { promise, resolve, reject } = Promise.withResolvers<Pkcs12Parts>();
  worker.on("message", (reply: Pkcs12Reply) => {
    if ("parts" in reply) resolve(reply.parts);
    else reject(new Error(reply.problem));
  });
  worker.on("error", reject);
  worker.on("exit", () => reject(new Error("it could not be opened: its reader ended")));
  try {
    return await promise;
  } finally {
    await worker.terminate();
  }
}

/** Beside this file, or inside the executable, where the build puts every entry point under its bare name. */
function threadLocation(): string | URL {
  return import.meta.url.includes("/$bunfs/")
    ? "/$bunfs/root/pkcs12-thread.js"
    : new URL("./pkcs12-thread.ts", import.meta.url);
}
