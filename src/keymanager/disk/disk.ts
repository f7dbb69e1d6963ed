/**
 * The KeyManager `disk`: keys in one JSON file, in the reference's layout, so that either side can take over the other's:
 * `{"keys": {"x509-CA-A": "<base64 of PKCS#8>"}}`.
 */
import type { KeyObject } from "node:crypto";
import { removeDrafts, writeFileAtomically } from "#files/atomic-write.ts";
import { closeToOthers } from "#files/close-to-others.ts";
import { ownerRules } from "#files/obeyed.ts";
import { followSafely } from "#files/safe-path.ts";
import { writeError } from "#files/write-error.ts";
import type { KeyManager, ManagedKey } from "#keymanager/key-manager.ts";
import { managedKey } from "#keymanager/managed-key.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { generatePrivateKey } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";
import { formatKeyFile, readKeyFile } from "./key-file.ts";

const PRIVATE_MODE = 0o600;

interface StoredKey {
  readonly privateKey: KeyObject;
  readonly managed: ManagedKey;
}

export class DiskKeyManager implements KeyManager {
  #path: string;
  #keys: ReadonlyMap<string, StoredKey>;
  /** Writes follow one another: each holds all keys, so one that overtakes another would lose its key. */
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(path: string, keys: ReadonlyMap<string, StoredKey>) {
    this.#path = path;
    this.#keys = keys;
  }

  /**
   * Reads the file, which may be missing; its directory must exist. A file that is open to others is closed to them, and the log,
   * if given, says so: whoever read it before is the operator's to judge.
   *
   * @throws Error naming the file when it cannot be read as keys; it is then left as it is
   */
  static async open(path: string, log?: Log): Promise<DiskKeyManager> {
    try {
      await removeDrafts(path);
      tightenMode(path, log);
      const keys = new Map<string, StoredKey>();
      for (const [id, privateKey] of await readKeyFile(path)) {
        keys.set(id, { privateKey, managed: usableKey(id, privateKey) });
      }
      return new DiskKeyManager(path, keys);
    } catch (error) {
      throw new Error(`keys file ${path}: ${errorText(error)}`, { cause: error });
    }
  }

  async generateKey(id: string, keyType: KeyType): Promise<ManagedKey> {
    const privateKey = await generatePrivateKey(keyType);
    const managed = managedKey(id, privateKey);
    const write = this.#lastWrite.then(() => this.#store(id, { privateKey, managed }));
    this.#lastWrite = write.catch(() => undefined);
    await write;
    return managed;
  }

  /**
   * Keeps the keys in another file from now on, where they are written at once. The file before is left as it is.
   *
   * @throws Error naming the file when it cannot be written, or has other keys: those may be all that somebody has
   */
  moveTo(path: string): Promise<void> {
    const move = this.#lastWrite.then(() => this.#moveTo(path));
    this.#lastWrite = move.catch(() => undefined);
    return move;
  }

  async #moveTo(path: string): Promise<void> {
    if (path === this.#path) return;
    const other = await DiskKeyManager.open(path);
    for (const [id, { privateKey }] of other.#keys) {
      if (this.#keys.get(id)?.privateKey.equals(privateKey) !== true) {
        throw new Error(`keys file ${path}: it has another key ${JSON.stringify(id)} already`);
      }
    }
    await write(path, this.#keys);
    this.#path = path;
  }

  key(id: string): ManagedKey | undefined {
    return this.#keys.get(id)?.managed;
  }

  keys(): readonly ManagedKey[] {
    return [...this.#keys.values()].map(({ managed }) => managed);
  }

  /** Nothing uses the key before it is on disk: what it signs must outlive a crash. */
  async #store(id: string, key: StoredKey): Promise<void> {
    const next = new Map(this.#keys).set(id, key);
    await write(this.#path, next);
    this.#keys = next;
  }
}

async function write(path: string, keys: ReadonlyMap<string, StoredKey>): Promise<void> {
  const text = formatKeyFile([...keys].map(([name, { privateKey }]) => [name, privateKey]));
  try {
    await writeFileAtomically(path, text, PRIVATE_MODE);
  } catch (error) {
    throw writeError(path, error);
  }
}

function usableKey(id: string, privateKey: KeyObject): ManagedKey {
  try {
    return managedKey(id, privateKey);
  } catch (error) {
    throw new Error(`key ${JSON.stringify(id)}: ${errorText(error)}`);
  }
}

function tightenMode(path: string, log: Log | undefined): void {
  try {
    followSafely(path, { ...ownerRules(), groups: "allowed" });
    const mode = closeToOthers(path)?.toString(8);
    if (mode === undefined) return;
    log?.warn("The file of private keys was open to others; its mode is now 0600", { path, mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    if (code !== "EPERM") throw error;
    throw new Error(`it is open to others and cannot be closed to them: ${errorText(error)}`);
  }
}
