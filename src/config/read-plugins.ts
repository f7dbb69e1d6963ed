/** The plugins block of a configuration file, read by the table of what is built in. */
import type { Block, Problems } from "./block.ts";
import {
  type AbsentKind,
  builtInPlugin,
  type Named,
  type Place,
  type PluginConfigs,
  type PluginKind,
  type PluginTable,
  type Sourced,
} from "./plugin.ts";
import { type PluginBlock, pluginsOf } from "./plugin-blocks.ts";

/** What runs when there is no configuration file. */
export function zeroPlugins<Table extends PluginTable>(
  table: Table,
  place: Place,
): PluginConfigs<Table> {
  return inFields(table, (kind) => kind.zero(place));
}

/** Reads every plugin that is configured. Of a kind that is missing what runs without a file is given, beside the problem. */
export function readPlugins<Table extends PluginTable>(
  table: Table,
  absent: readonly AbsentKind[],
  plugins: Block,
  place: Place,
  problems: Problems,
): PluginConfigs<Table> {
  const found = Object.values(table).map((kind) => {
    const names = kind.builtIn.map(({ name }) => name);
    return { kind, blocks: pluginsOf(plugins, kind.kind, names, problems) };
  });
  for (const { kind, instead } of absent) pluginsOf(plugins, kind, instead, problems);
  plugins.finish();
  const counted = new Map(
    found.map(({ kind, blocks }) => [kind, checkCount(kind, blocks, problems)]),
  );
  const read = inFields(table, (kind) => {
    const blocks = counted.get(kind) ?? [];
    if (blocks.length === 0 && kind.allowed === "exactly 1") return kind.zero(place);
    return blocks.map((block) => readPlugin(kind, block, place, problems));
  });
  for (const block of [...counted.values()].flat()) block.finish();
  return read;
}

function readPlugin(
  kind: PluginKind,
  block: PluginBlock,
  place: Place,
  problems: Problems,
): Sourced & Named {
  const config = builtInPlugin(kind, block).read(block.data, problems, place);
  return { ...config, ...block.source };
}

/** @returns those that are gone on with */
function checkCount(
  { kind, allowed }: PluginKind,
  blocks: readonly PluginBlock[],
  problems: Problems,
): readonly PluginBlock[] {
  const got = blocks.length;
  switch (allowed) {
    case "exactly 1":
      if (got !== 1) {
        problems.add(`${kind}: constraint not satisfied: expected exactly 1 but got ${got}`);
      }
      return blocks.slice(0, 1);
    case "at most 1":
      if (got > 1) problems.add(`expected at most 1 ${kind} plugin but got ${got}`);
      return blocks.slice(0, 1);
    case "at least 1":
      if (got === 0) {
        problems.add(`${kind}: constraint not satisfied: expected at least 1 but got 0`);
      }
      return blocks;
    case "any number":
      return blocks;
  }
}

/** @param configsOf gives as many configurations as the kind allows */
function inFields<Table extends PluginTable>(
  table: Table,
  configsOf: (kind: PluginKind) => readonly (Sourced & Named)[],
): PluginConfigs<Table> {
  const fields: Record<string, unknown> = {};
  for (const [field, kind] of Object.entries(table)) {
    const configs = configsOf(kind);
    const [only] = configs;
    const isList = kind.allowed === "at least 1" || kind.allowed === "any number";
    if (isList || only !== undefined) fields[field] = isList ? configs : only;
  }
  // The compiler cannot follow names into types: each field has what its kind has read.
  return fields as PluginConfigs<Table>;
}
