/**
 * JSON as the reference's `-output json` prints it: protobuf's JSON mapping with the field names of the .proto files, every
 * field present, absent messages left out, keys in alphabetical order, on one line.
 */

/** The fields of 64 bits that commands print. The JSON mapping writes those as strings, as JavaScript would round them. */
const INT64_FIELDS: ReadonlySet<string> = new Set([
  "begins_at",
  "created_at",
  "current_bundle_serial",
  "expires_at",
  "failed_at",
  "issued_at",
  "last_seen_at",
  "last_sync_success",
  "refresh_hint",
  "renew_at",
  "retry_at",
  "revision_number",
  "sequence_number",
  "x509svid_expires_at",
]);

/** Fields whose keys are data: maps by trust domain, and the claims of a token. */
const MAP_FIELDS: ReadonlySet<string> = new Set(["bundles", "claims", "federated_bundles"]);

/** The message as one line of JSON, without the line's end. */
export function protoJson(message: object): string {
  return escapeHtml(JSON.stringify(messageValue(message)));
}

/** Plain data as one line of JSON in its own key order, without the line's end. */
export function structJson(value: object): string {
  return escapeHtml(JSON.stringify(value));
}

/** A map of the API, such as the claims of a token, as one line of JSON: sorted keys, nothing escaped for browsers. */
export function mapJson(map: object): string {
  return JSON.stringify(mapValue(map));
}

function messageValue(message: object): Record<string, unknown> {
  const fields = Object.entries(message)
    .map(([key, value]) => fieldOf(key, value))
    .filter(([, value]) => value !== undefined && value !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, value]) => [name, fieldValue(name, value)]));
}

/** The name and value of a field. A oneof is in JSON just the field that was chosen. */
function fieldOf(key: string, value: unknown): readonly [string, unknown] {
  if (typeof value === "object" && value !== null && "$case" in value && "value" in value) {
    return [snakeCase(String(value.$case)), value.value];
  }
  return [snakeCase(key), value];
}

function fieldValue(name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  // A list never holds maps, so the elements of one are messages even where a map has the same name elsewhere.
  if (Array.isArray(value)) return value.map((item: unknown) => fieldValue("", item));
  if (typeof value === "object" && value !== null) {
    return MAP_FIELDS.has(name) ? mapValue(value) : messageValue(value);
  }
  if (typeof value === "number" && INT64_FIELDS.has(name)) return String(value);
  return value;
}

/** Whatever JSON a map holds, with sorted keys and without nulls. */
function mapValue(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(mapValue);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value)
    .filter(([, inner]) => inner !== undefined && inner !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([key, inner]) => [key, mapValue(inner)]));
}

/** `x509SvidTtl` is x509_svid_ttl: the generated names, turned back into those of the .proto files. */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const HTML: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** Go's encoder escapes what a browser could read as markup; scripts that compare lines see that. */
function escapeHtml(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (character) => HTML[character] ?? character);
}
