/**
 * What a daemon may take over from a configuration that was read again while it runs, and what has to wait for its next start. Pure: it
 * compares two checked configurations by a table that names every field's key, so that no field can be forgotten.
 */

import type { PluginTable } from "./plugin.ts";

/** A key as the operator knows it. */
export interface Key {
  readonly name: string;
  /** Whether a change from the one value to the other counts at once. */
  readonly isLive: (before: unknown, after: unknown) => boolean;
}

/** A key for every field of a configuration, or a table like it for a field that is a block. */
export type KeyTable<C> = {
  readonly [Field in Exclude<keyof C, About>]-?: Key | KeyTable<NonNullable<C[Field]>>;
};

/** Fields that are about the file as it was read; nothing works by them. */
type About = "warnings" | "notes";

/** A change counts at once. */
export function live(name: string): Key {
  return { name, isLive: () => true };
}

/** A change counts after a restart. */
export function atStart(name: string): Key {
  return { name, isLive: () => false };
}

/** The keys of the plugins: a change counts at once while they stay the same ones by name, and each of them can be configured anew. */
export function pluginKeys<Table extends PluginTable>(
  table: Table,
): { readonly [Field in keyof Table]: Key } {
  const keys = Object.entries(table).map(([field, { kind, builtIn }]) => {
    const isFixed = builtIn.some(({ reconfigure }) => reconfigure === "at start");
    return [field, isFixed ? atStart(kind) : livePlugins(kind)];
  });
  return Object.fromEntries(keys) as { readonly [Field in keyof Table]: Key };
}

/** A change counts at once while the plugins stay the same ones by name: each of them is configured anew. */
export function livePlugins(kind: string): Key {
  return {
    name: kind,
    isLive: (before, after) => JSON.stringify(names(before)) === JSON.stringify(names(after)),
  };
}

/** Of a plugin's configuration, or of several. */
function names(plugins: unknown): readonly (string | undefined)[] {
  return [plugins].flat().map((plugin) => (plugin as { readonly name: string } | undefined)?.name);
}

/** What becomes of a configuration that was read again. */
export interface Reload<C> {
  /** What is in force from now on: the present one, with what counts at once of the new one. */
  readonly config: C;
  /** Names of keys that changed and took effect. */
  readonly applied: readonly string[];
  /** Names of keys that changed and count after a restart. */
  readonly pending: readonly string[];
}

/** @throws Error when a value is of a class that says nothing of itself: then nobody could tell whether it changed */
export function planReload<C extends object>(table: KeyTable<C>, present: C, next: C): Reload<C> {
  const applied = new Set<string>();
  const pending = new Set<string>();
  const config = merge(table, present, next, (key, before, after) => {
    if (canonical(before) === canonical(after)) return false;
    const isLive = key.isLive(before, after);
    (isLive ? applied : pending).add(key.name);
    return isLive;
  });
  return { config: config as C, applied: [...applied], pending: [...pending] };
}

/** The configuration that is in force. What may change while a daemon runs is read from here at every use. */
export class ConfigInForce<C extends object> {
  readonly #table: KeyTable<C>;
  #config: C;

  constructor(table: KeyTable<C>, config: C) {
    this.#table = table;
    this.#config = config;
  }

  get config(): C {
    return this.#config;
  }

  /** Takes over what counts at once. */
  take(next: C): Reload<C> {
    const plan = planReload(this.#table, this.#config, next);
    this.#config = plan.config;
    return plan;
  }
}

type Fields = Readonly<Record<string, unknown>>;
type Node = Key | { readonly [field: string]: Node };

function merge(
  table: object,
  present: object,
  next: object,
  isTaken: (key: Key, before: unknown, after: unknown) => boolean,
): Fields {
  const merged: Record<string, unknown> = { ...present };
  for (const [field, node] of Object.entries(table as Readonly<Record<string, Node>>)) {
    const before = (present as Fields)[field];
    const after = (next as Fields)[field];
    if (!isKey(node)) merged[field] = merge(node, before ?? {}, after ?? {}, isTaken);
    else if (isTaken(node, before, after)) merged[field] = after;
  }
  return merged;
}

function isKey(node: Node): node is Key {
  return typeof node["isLive"] === "function";
}

/** Equal texts for equal values. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (inner instanceof Map) return [...inner];
    if (isOpaque(inner)) throw new Error("a configuration value cannot be compared");
    return inner;
  });
}

/** An object of a class, unless `toJSON` has made something plain of it before. */
function isOpaque(value: unknown): boolean {
  if (typeof value === "function") return true;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype !== Object.prototype && prototype !== null;
}
