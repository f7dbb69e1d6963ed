import { createPrivateKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { privateKeyToPkcs8Der } from "#x509/keys.ts";

/**
 * Reads the private keys of a key file by their IDs. A missing file holds none.
 *
 * @throws Error saying what is wrong with the file, never what it holds
 */
export async function readKeyFile(path: string): Promise<Map<string, KeyObject>> {
  const text = await textOf(path);
  return text === undefined ? new Map() : parseKeyFile(text);
}

/** The private keys in the content of a key file, by their IDs. @throws Error as `readKeyFile` */
export function parseKeyFile(text: string): Map<string, KeyObject> {
  const keys = new Map<string, KeyObject>();
  for (const [id, encoded] of Object.entries(storedKeys(text))) {
    keys.set(id, decodeKey(id, encoded));
  }
  return keys;
}

/** The content of a key file, its keys sorted by ID as the reference's are. */
export function formatKeyFile(keys: readonly (readonly [string, KeyObject])[]): string {
  const sorted = keys.toSorted(([a], [b]) => (a < b ? -1 : 1));
  const encoded = sorted.map(([id, key]) => [id, base64(privateKeyToPkcs8Der(key))]);
  return JSON.stringify({ keys: Object.fromEntries(encoded) }, undefined, "\t");
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function storedKeys(text: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's message would quote from the file.
    throw corrupt("it is not JSON");
  }
  if (!isRecord(document)) throw corrupt("it is not a JSON object");
  const keys = document["keys"];
  // The reference writes null for no keys.
  if (keys === null) return {};
  if (!isRecord(keys)) throw corrupt(`it has no object "keys"`);
  return keys;
}

function decodeKey(id: string, encoded: unknown): KeyObject {
  const name = JSON.stringify(id);
  if (typeof encoded !== "string") throw corrupt(`key ${name} is not a string`);
  try {
    return createPrivateKey({ key: Buffer.from(encoded, "base64"), format: "der", type: "pkcs8" });
  } catch {
    throw corrupt(`key ${name} is not PKCS#8 in base64`);
  }
}

function corrupt(problem: string): Error {
  return new Error(`${problem}; restore it from a backup, or move it away to start with new keys`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
