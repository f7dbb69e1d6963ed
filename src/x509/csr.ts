/**
 * Certificate requests (PKCS#10, RFC 2986). A request is a claim: only its key and the proof that the sender holds it are used
 * on the agent's path; the names in it count where an RPC says so.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { DerError, DerReader, der, derOid, oidText, readDer, Tag } from "./der.ts";
import {
  type Extensions,
  NO_EXTENSIONS,
  readExtensions,
  subjectAltNameExtension,
} from "./extensions.ts";
import { algorithmIdentifier } from "./issue.ts";
import { encodeName } from "./name.ts";
import { Oid } from "./oid.ts";
import { publicKeyProblem, verifySignatureAsync } from "./signature.ts";
import type { Signer } from "./signer.ts";

const MAX_CSR_BYTES = 16 * 1024;

export interface Csr {
  readonly subjectDer: Uint8Array;
  readonly publicKey: KeyObject;
  readonly publicKeySpki: Uint8Array;
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  /** Whether the request is signed by the key it names. */
  verifySignature(): Promise<boolean>;
}

/**
 * Reads a request without verifying its signature.
 *
 * @throws Error saying what is malformed, or which kind of key is not supported
 */
export function parseCsr(bytes: Uint8Array): Csr {
  if (bytes.length > MAX_CSR_BYTES)
    throw new Error(`request is longer than ${MAX_CSR_BYTES} bytes`);
  const outer = readDer(bytes, Tag.SEQUENCE);
  const info = outer.next(Tag.SEQUENCE);
  const algorithm = oidText(outer.enter(Tag.SEQUENCE).next(Tag.OID).content);
  const signature = outer.next(Tag.BIT_STRING).content;
  outer.end();
  if (signature[0] !== 0) throw new DerError("signature has unused bits");
  const fields = readDer(info.bytes, Tag.SEQUENCE);
  if (fields.enter(Tag.INTEGER).peek() !== 0) throw new DerError("request is not of version 1");
  const subjectDer = fields.next(Tag.SEQUENCE).bytes;
  const publicKeySpki = fields.next(Tag.SEQUENCE).bytes;
  const attributes = fields.optional(0xa0);
  fields.end();
  const extensions =
    attributes === undefined
      ? NO_EXTENSIONS
      : requestedExtensions(new DerReader(attributes.content));
  const publicKey = createPublicKey({
    key: Buffer.from(publicKeySpki.buffer, publicKeySpki.byteOffset, publicKeySpki.byteLength),
    format: "der",
    type: "spki",
  });
  const problem = publicKeyProblem(publicKey);
  if (problem !== undefined) throw new Error(problem);
  return {
    subjectDer,
    publicKey,
    publicKeySpki,
    uriSans: extensions.uriSans,
    dnsSans: extensions.dnsSans,
    verifySignature: () =>
      verifySignatureAsync(algorithm, publicKey, info.bytes, signature.subarray(1)),
  };
}

function requestedExtensions(attributes: DerReader): Extensions {
  let found = NO_EXTENSIONS;
  while (!attributes.done) {
    const attribute = attributes.enter(Tag.SEQUENCE);
    const oid = oidText(attribute.next(Tag.OID).content);
    const values = attribute.enter(Tag.SET);
    attribute.end();
    if (oid === Oid.extensionRequest) found = readExtensions(values.enter(Tag.SEQUENCE));
  }
  return found;
}

export interface CsrFields {
  readonly signer: Signer;
  /** A Name, DER; empty when left out. */
  readonly subjectDer?: Uint8Array;
  readonly uriSan?: string;
  readonly dnsSans?: readonly string[];
}

/** Makes a request signed by the key it is for; DER. */
export async function createCsr(fields: CsrFields): Promise<Uint8Array> {
  const dnsSans = fields.dnsSans ?? [];
  const named = fields.uriSan !== undefined || dnsSans.length > 0;
  const attributes = named
    ? [
        der(
          Tag.SEQUENCE,
          derOid(Oid.extensionRequest),
          der(Tag.SET, der(Tag.SEQUENCE, subjectAltNameExtension(fields.uriSan, dnsSans, false))),
        ),
      ]
    : [];
  const info = der(
    Tag.SEQUENCE,
    der(Tag.INTEGER, Uint8Array.of(0)),
    fields.subjectDer ?? encodeName({}),
    fields.signer.publicKeySpki,
    der(0xa0, ...attributes),
  );
  const signature = await fields.signer.sign(info);
  return der(
    Tag.SEQUENCE,
    info,
    algorithmIdentifier(fields.signer.keyType),
    der(Tag.BIT_STRING, Uint8Array.of(0), signature),
  );
}
