/**
 * A plugin as one value, which its folder exports, and the tables of what is built into a program. All that a program knows of its plugins
 * (their names, their configurations, how many of a kind it takes, what may change while it runs) it takes from its table.
 */
import type { Block, Problems } from "./block.ts";
import type { DataFile } from "./data-file.ts";

/** A plugin's configuration; it says whose it is. */
export interface Named {
  readonly name: string;
}

/** A plugin's configuration whose data can be read again. */
export interface Sourced {
  readonly dataFile?: DataFile;
}

/** Where a program keeps what is its own: files that nobody names lie there. */
export interface Place {
  readonly dataDir: string;
}

/** @typeParam Opened what it is once it runs: the port of its kind, with what `reconfigure` needs */
export interface Plugin<Config extends Named, Parts, Opened> {
  readonly name: Config["name"];
  /** Reads `plugin_data`. What is wrong goes to the problems. */
  readonly read: (data: Block, problems: Problems, place: Place) => Config;
  /** Files with keys and passwords, which nobody else may read. */
  readonly privateFiles: (config: Config) => readonly string[];
  /**
   * Opens the plugin. One that a program can do without loads here what it consists of: others start sooner and need less memory.
   *
   * @throws Error when it cannot work by that configuration
   */
  readonly open: (config: Config, parts: Parts) => Promise<Opened>;
  /** Gives it another configuration while it runs; what it throws leaves it as it was. Or it takes one at its start alone. */
  readonly reconfigure: Reconfigure<Opened, Config> | AtStart;
}

type Reconfigure<Opened, Config> = (opened: Opened, config: Config) => Promise<void> | void;
type AtStart = "at start";

export interface KeylessConfig<Name extends string> {
  readonly name: Name;
}

/** Of a plugin without any key: what stands in its `plugin_data` is reported as unknown, and there is nothing to change. */
export function keyless<Name extends string>(
  name: Name,
): Pick<
  Plugin<KeylessConfig<Name>, unknown, unknown>,
  "name" | "read" | "privateFiles" | "reconfigure"
> {
  return { name, read: () => ({ name }), privateFiles: () => [], reconfigure: () => {} };
}

/** Any plugin. */
export interface AnyPlugin {
  readonly name: string;
  readonly read: (data: Block, problems: Problems, place: Place) => Named;
  readonly privateFiles: (config: never) => readonly string[];
  readonly open: (config: never, parts: never) => Promise<unknown>;
  readonly reconfigure: Reconfigure<never, never> | AtStart;
}

type Count = "exactly 1" | "at most 1" | "at least 1" | "any number";

/** The plugins of one kind, and how many of them a configuration may have. */
export interface PluginKind<
  Allowed extends Count = Count,
  Plugins extends readonly AnyPlugin[] = readonly AnyPlugin[],
> {
  /** As in the configuration: `KeyManager`. */
  readonly kind: string;
  readonly allowed: Allowed;
  readonly builtIn: Plugins;
  /** What runs when there is no configuration file. */
  readonly zero: (place: Place) => readonly ReturnType<Plugins[number]["read"]>[];
}

/** A kind of plugins that the reference has and this program has not. */
export interface AbsentKind {
  readonly kind: string;
  /** What to do instead. */
  readonly instead: string;
}

/** Kinds of plugins, each under the name that its configurations have. */
export type PluginTable = Readonly<Record<string, PluginKind>>;

/** The configuration of one plugin of the kind. */
export type ConfigOf<Kind> =
  Kind extends PluginKind<Count, infer Plugins>
    ? Sourced & ReturnType<Plugins[number]["read"]>
    : never;

/** What any plugin of the kind may use. */
export type PartsOf<Kind extends PluginKind> = [Kind["builtIn"][number]["open"]] extends [
  (config: never, parts: infer Parts) => unknown,
]
  ? Parts
  : never;

/** What one plugin of the kind is once it runs. */
export type OpenedOf<Kind extends PluginKind> = Awaited<
  ReturnType<Kind["builtIn"][number]["open"]>
>;

/** The configurations of all plugins of a program. */
export type PluginConfigs<Table extends PluginTable> = {
  readonly [Field in FieldsOf<Table, "exactly 1">]: ConfigOf<Table[Field]>;
} & {
  readonly [Field in FieldsOf<Table, "at most 1">]?: ConfigOf<Table[Field]>;
} & {
  readonly [Field in FieldsOf<Table, "at least 1" | "any number">]: readonly ConfigOf<
    Table[Field]
  >[];
};

type FieldsOf<Table extends PluginTable, Allowed extends Count> = {
  [Field in keyof Table]: Table[Field]["allowed"] extends Allowed ? Field : never;
}[keyof Table];

/** The configurations of all plugins by their kind. */
export function configsByKind<Table extends PluginTable>(
  table: Table,
  configs: PluginConfigs<Table>,
): ReadonlyMap<string, readonly (Sourced & Named)[]> {
  const fields = configs as Readonly<Record<string, PluginField>>;
  return new Map(
    Object.entries(table).map(([field, { kind }]) => [kind, configsIn(fields[field])]),
  );
}

type PluginField = (Sourced & Named) | readonly (Sourced & Named)[] | undefined;

function configsIn(field: PluginField): readonly (Sourced & Named)[] {
  return [field ?? []].flat();
}

/** The files with keys and passwords that a configuration names. */
export function privateFiles<Table extends PluginTable>(
  table: Table,
  configs: PluginConfigs<Table>,
): readonly string[] {
  const byKind = configsByKind(table, configs);
  return Object.values(table).flatMap((kind) =>
    (byKind.get(kind.kind) ?? []).flatMap((config) => {
      const plugin = builtInPlugin(kind, config);
      return plugin.privateFiles(config as never);
    }),
  );
}

/** The plugin whose configuration it is. */
export function builtInPlugin<Plugins extends readonly AnyPlugin[]>(
  { kind, builtIn }: Pick<PluginKind<Count, Plugins>, "kind" | "builtIn">,
  { name }: Named,
): Plugins[number] {
  const plugin = builtIn.find((one) => one.name === name);
  if (plugin === undefined) throw new Error(`there is no ${kind} ${JSON.stringify(name)}`);
  return plugin;
}
