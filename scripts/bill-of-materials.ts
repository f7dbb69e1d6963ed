/**
 * Writes what is inside the executables, in CycloneDX 1.5: the packages of `dependencies` with all that they need, and Bun's runtime for the
 * target, each with the hash that npm's registry vouches for and bun.lock holds.
 *
 * `bill-of-materials.ts RUNTIME-PACKAGE FILE`; SOURCE_DATE_EPOCH dates it. The same bun.lock gives the same bytes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "..");

/** A line of bun.lock's packages: name@version, registry, what it needs, integrity. */
type Locked = readonly [
  string,
  string,
  { readonly dependencies?: Readonly<Record<string, string>> },
  string,
];

interface LockFile {
  readonly packages: Readonly<Record<string, Locked>>;
}

interface Manifest {
  readonly version: string;
  readonly license?: string;
  readonly licenses?: readonly { readonly type: string }[];
  readonly dependencies?: Readonly<Record<string, string>>;
}

interface Component {
  readonly type: string;
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses: readonly { readonly expression: string }[];
}

const [runtime = "", file = ""] = process.argv.slice(2);
const lock = Bun.JSONC.parse(readFileSync(join(ROOT, "bun.lock"), "utf8")) as LockFile;
const product = manifest(ROOT);

const keys = closure(Object.keys(product.dependencies ?? {}));
const components = [
  // Bun's own code, and WebKit's JavaScriptCore that is linked into it.
  component(runtime, "framework", "MIT AND LGPL-2.0-or-later"),
  ...[...keys].sort().map((key) => component(key, "library", licenceOf(key))),
];
const bill = {
  bomFormat: "CycloneDX",
  specVersion: "1.5",
  version: 1,
  metadata: {
    timestamp: new Date(Number(process.env["SOURCE_DATE_EPOCH"] ?? 0) * 1000).toISOString(),
    component: {
      type: "application",
      "bom-ref": "spire-edge",
      name: "spire-edge",
      version: product.version,
      licenses: [{ expression: "Apache-2.0" }],
    },
  },
  components,
  dependencies: [
    { ref: "spire-edge", dependsOn: components.map((one) => one["bom-ref"]).toSorted() },
  ],
};
writeFileSync(file, `${JSON.stringify(bill, null, 2)}\n`);

/** The keys in bun.lock of these packages and of everything below them. */
function closure(names: readonly string[]): Set<string> {
  const found = new Set<string>();
  const visit = (key: string): void => {
    if (found.has(key)) return;
    found.add(key);
    for (const name of Object.keys(locked(key)[2].dependencies ?? {})) visit(resolved(key, name));
  };
  for (const name of names) visit(name);
  return found;
}

/** Where `name` is found from the package at `key`: the nearest one above it, as node_modules are searched. */
function resolved(key: string, name: string): string {
  for (let above = key; above !== ""; above = above.slice(0, Math.max(0, above.lastIndexOf("/")))) {
    if (lock.packages[`${above}/${name}`] !== undefined) return `${above}/${name}`;
  }
  return name;
}

function component(key: string, type: string, licence: string): Component {
  const [label, , , integrity] = locked(key);
  const at = label.lastIndexOf("@");
  const [name, version] = [label.slice(0, at), label.slice(at + 1)];
  const [algorithm, value] = integrity.split("-", 2);
  if (algorithm !== "sha512" || value === undefined)
    throw new Error(`bun.lock: ${key}: no SHA-512 in ${integrity}`);
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  return {
    type,
    "bom-ref": purl,
    name,
    version,
    purl,
    hashes: [{ alg: "SHA-512", content: Buffer.from(value, "base64").toString("hex") }],
    licenses: [{ expression: licence }],
  };
}

function licenceOf(key: string): string {
  const { license, licenses } = manifest(join(ROOT, "node_modules", installedAt(key)));
  const name = license ?? licenses?.[0]?.type;
  if (name === undefined) throw new Error(`${key}: its package.json names no licence`);
  return name;
}

/** `a/@b/c` of bun.lock lies in `a/node_modules/@b/c`. */
function installedAt(key: string): string {
  return (key.match(/(@[^/]+\/)?[^/]+/g) ?? []).join("/node_modules/");
}

function locked(key: string): Locked {
  const found = lock.packages[key];
  if (found === undefined) throw new Error(`bun.lock has no ${key}`);
  return found;
}

function manifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Manifest;
}
