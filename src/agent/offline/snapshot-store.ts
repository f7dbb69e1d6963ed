/** A place in memory that outlives the agent's process. It takes and gives bytes, and knows nothing of what they mean. */
export interface SnapshotStore {
  /** For log lines: what the place is. */
  readonly place: string;
  /** What is there, in any order: more than one where the agent was killed while it replaced one. @throws Error */
  load(): Promise<readonly Uint8Array[]>;
  /** Keeps this one instead of whatever was there; until it is kept, the old one stays. @throws Error */
  replace(snapshot: Uint8Array): Promise<void>;
  /** Forgets everything. @throws Error */
  clear(): Promise<void>;
}

/** More than a hundred thousand SVIDs need; a foreign descriptor or file must not fill the memory. */
export const MAX_SNAPSHOT_BYTES: number = 256 * 1024 * 1024;
