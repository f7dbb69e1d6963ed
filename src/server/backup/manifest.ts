/** The first part of a backup: what it is, of what, and the hashes of the other parts. */
import { DamageError } from "./byte-source.ts";

const FORMAT_VERSION = 1;
export const MANIFEST_NAME = "manifest.json";
export const KEYS_NAME = "keys.json";
export const CONFIGURATION_NAME = "server.conf";
export const DATABASE_NAME = "datastore.sqlite3";

/** In the order in which they follow one another; those that a server does not have are left out. */
const PART_NAMES: readonly string[] = [KEYS_NAME, CONFIGURATION_NAME, DATABASE_NAME];

export interface ManifestPart {
  readonly name: string;
  readonly bytes: number;
  /** In hex. */
  readonly sha256: string;
}

export interface Manifest {
  /** Of the executable that made it. */
  readonly programVersion: string;
  readonly schemaVersion: number;
  readonly trustDomain: string;
  /** Unix seconds: nothing that was stored before is missing. */
  readonly createdAt: number;
  readonly keyManager: "disk" | "memory";
  readonly parts: readonly ManifestPart[];
}

export function formatManifest(manifest: Manifest): Buffer {
  const document = {
    format_version: FORMAT_VERSION,
    program: "spire-server",
    program_version: manifest.programVersion,
    schema_version: manifest.schemaVersion,
    trust_domain: manifest.trustDomain,
    created_at: new Date(manifest.createdAt * 1000).toISOString(),
    key_manager: manifest.keyManager,
    parts: manifest.parts.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
  };
  return Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** @throws DamageError, or Error when the backup is of a later format */
export function parseManifest(bytes: Buffer): Manifest {
  const document = parseObject(bytes);
  const version = document["format_version"];
  if (typeof version === "number" && version > FORMAT_VERSION) {
    throw new Error(
      `it has format version ${version}, this spire-server knows versions up to ${FORMAT_VERSION}: use the later spire-server that made it`,
    );
  }
  const createdAt = Date.parse(String(document["created_at"])) / 1000;
  const manifest: Manifest = {
    programVersion: String(document["program_version"]),
    schemaVersion: Number(document["schema_version"]),
    trustDomain: String(document["trust_domain"]),
    createdAt,
    keyManager: document["key_manager"] === "memory" ? "memory" : "disk",
    parts: parseParts(document["parts"]),
  };
  // What would be written of it is what was read, so that nothing in it went unnoticed.
  if (!Number.isSafeInteger(createdAt) || !formatManifest(manifest).equals(bytes))
    throw malformed();
  return manifest;
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(bytes.toString("utf8"));
    if (isRecord(document)) return document;
  } catch {
    // Told below.
  }
  throw malformed();
}

function parseParts(value: unknown): readonly ManifestPart[] {
  if (!Array.isArray(value)) throw malformed();
  const parts = value.map((part: unknown) => {
    if (!isRecord(part)) throw malformed();
    const { name, bytes, sha256 } = part;
    if (typeof name !== "string" || typeof bytes !== "number" || typeof sha256 !== "string") {
      throw malformed();
    }
    return { name, bytes, sha256 };
  });
  const places = parts.map(({ name }) => PART_NAMES.indexOf(name));
  const isInOrder = places.every((place, index) => place > (places[index - 1] ?? -1));
  if (!isInOrder || parts.at(-1)?.name !== DATABASE_NAME) throw malformed();
  return parts;
}

function malformed(): DamageError {
  return new DamageError("its manifest is not as it was written");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
