/** KeyManager `disk`: all keys in one JSON file of the reference's layout, `{"keys":{"<id>":"<base64 of PKCS#8>"}}`, mode 0600. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { chmod, readFile, stat } from "node:fs/promises";
import { writeFileAtomically } from "#files/atomic-write.ts";
import { errorText } from "#spiffe/status-error.ts";
import { generatePrivateKey, privateKeyToPkcs8Der } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";
import type { KeyManager, ManagedKey } from "./key-manager.ts";
import { managedKey } from "./memory.ts";

const PRIVATE_MODE = 0o600;

interface StoredKey {
  readonly key: ManagedKey;
  /** PKCS#8 DER in base64, as the file has it. */
  readonly encoded: string;
}

export class DiskKeyManager implements KeyManager {
  readonly #path: string;
  #keys: ReadonlyMap<string, StoredKey>;
  /** Writes go one after the other: each holds all keys. */
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(path: string, keys: ReadonlyMap<string, StoredKey>) {
    this.#path = path;
    this.#keys = keys;
  }

  /**
   * Reads the keys of a file; a file that is missing is made with the first key.
   *
   * @throws Error naming the file when it cannot be read or is not ours; it is then left as it is
   */
  static async open(path: string): Promise<DiskKeyManager> {
    const text = await readKeys(path);
    return new DiskKeyManager(path, text === undefined ? new Map() : parseKeys(path, text));
  }

  async generateKey(id: string, keyType: KeyType): Promise<ManagedKey> {
    const privateKey = await generatePrivateKey(keyType);
    const stored = storedKey(id, privateKey);
    const written = this.#writing.then(() => this.#store(id, stored));
    this.#writing = written.catch(() => undefined);
    await written;
    return stored.key;
  }

  key(id: string): ManagedKey | undefined {
    return this.#keys.get(id)?.key;
  }

  keys(): readonly ManagedKey[] {
    return [...this.#keys.values()].map(({ key }) => key);
  }

  async #store(id: string, stored: StoredKey): Promise<void> {
    const keys = new Map(this.#keys).set(id, stored);
    const encoded = Object.fromEntries([...keys].map(([name, { encoded }]) => [name, encoded]));
    await writeFileAtomically(
      this.#path,
      `${JSON.stringify({ keys: encoded }, null, "\t")}\n`,
      PRIVATE_MODE,
    );
    this.#keys = keys;
  }
}

function storedKey(id: string, privateKey: KeyObject): StoredKey {
  const encoded = Buffer.from(privateKeyToPkcs8Der(privateKey)).toString("base64");
  return { key: managedKey(id, privateKey), encoded };
}

async function readKeys(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, "utf8");
    // Keys that others may read are tightened; whoever read them before is the operator's to judge.
    if (((await stat(path)).mode & 0o077) !== 0) await chmod(path, PRIVATE_MODE);
    return text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`cannot read keys file ${path}: ${errorText(error)}`);
  }
}

function parseKeys(path: string, text: string): ReadonlyMap<string, StoredKey> {
  const broken = (what: string): Error =>
    new Error(
      `keys file ${path} is corrupt: ${what}; restore it from a backup, or move it away to start with new keys`,
    );
  const keys = keysOf(text);
  if (keys === undefined) throw broken('it is not JSON of the form {"keys": {…}}');
  const found = new Map<string, StoredKey>();
  for (const [id, encoded] of Object.entries(keys)) {
    try {
      const der = Buffer.from(String(encoded), "base64");
      found.set(id, storedKey(id, createPrivateKey({ key: der, format: "der", type: "pkcs8" })));
    } catch {
      throw broken(`key ${JSON.stringify(id)} is malformed`);
    }
  }
  return found;
}

function keysOf(text: string): object | undefined {
  try {
    const whole: unknown = JSON.parse(text);
    if (typeof whole !== "object" || whole === null || !("keys" in whole)) return undefined;
    return typeof whole.keys === "object" && whole.keys !== null ? whole.keys : undefined;
  } catch {
    return undefined;
  }
}
