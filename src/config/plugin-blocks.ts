/** The plugins block, the same in both files: kind, name, `plugin_data` or the file that has it. */
import { errorText } from "#spiffe/status-error.ts";
import type { Block, Problems } from "./block.ts";
import { openDataFile } from "./data-file.ts";
import type { Sourced } from "./plugin.ts";
import { type NeedlessKeys, takeNeedless } from "./unsupported-settings.ts";

export interface PluginBlock {
  readonly name: string;
  readonly data: Block;
  /** Where the data is read from, when it has a file of its own. */
  readonly source: Sourced;
  /** Reports keys that nobody asked for, of the block and of the data. */
  finish(): void;
}

/**
 * The enabled plugins of a kind; what is not built in is reported by name.
 *
 * @param builtIn their names, or what to do instead where there are none of the kind
 */
export function pluginsOf(
  plugins: Block,
  kind: string,
  builtIn: readonly string[] | string,
  problems: Problems,
): readonly PluginBlock[] {
  const seen = new Set<string>();
  return plugins.labelled(kind).flatMap(({ label: name, block }) => {
    if (block.boolean("enabled") === false) return [];
    if (seen.has(name))
      problems.add(`plugin "${kind}"/"${name}" declared more than once`, block.line);
    seen.add(name);
    takeNeedless(block, BUILT_IN_NEEDLESS, problems);
    const problem = pluginProblem(kind, name, block, builtIn);
    if (problem !== undefined) {
      problems.add(problem, block.line);
      return [];
    }
    const { data, source } = pluginData(kind, name, block, problems);
    const finish = (): void => {
      data.finish();
      block.finish();
    };
    return [{ name, data, source, finish }];
  });
}

/** What is in `plugin_data`, or in the file that `plugin_data_file` names. */
function pluginData(
  kind: string,
  name: string,
  block: Block,
  problems: Problems,
): { readonly data: Block; readonly source: Sourced } {
  const data = block.block("plugin_data");
  const path = block.path("plugin_data_file");
  if (path === undefined) return { data: data ?? block.none(), source: {} };
  const line = block.lineOf("plugin_data_file");
  const where = `plugin_data_file of ${kind} ${JSON.stringify(name)}`;
  if (data !== undefined) {
    problems.add(`${where}: only one of plugin_data and plugin_data_file can be used`, line);
    return { data, source: {} };
  }
  try {
    const opened = openDataFile({ kind, name, path }, problems.of(path));
    return { data: opened.data, source: { dataFile: opened.file } };
  } catch (error) {
    problems.add(`${where}: ${errorText(error)}`, line);
    return { data: block.none(), source: {} };
  }
}

function pluginProblem(
  kind: string,
  name: string,
  block: Block,
  builtIn: readonly string[] | string,
): string | undefined {
  const quoted = JSON.stringify(name);
  if (block.asksFor("plugin_cmd")) {
    return `plugin_cmd of ${kind} ${quoted} is not supported: there are no external plugins; ${instead(builtIn)}`;
  }
  if (typeof builtIn === "string" || !builtIn.includes(name)) {
    return `failed to load plugin ${quoted}: no built-in plugin ${quoted} for type "${kind}"; ${instead(builtIn)}`;
  }
  return undefined;
}

function instead(builtIn: readonly string[] | string): string {
  return typeof builtIn === "string" ? builtIn : `use one of ${builtIn.join(", ")}`;
}

const OF_EXTERNAL = "it only takes effect together with plugin_cmd";

const BUILT_IN_NEEDLESS: NeedlessKeys = {
  plugin_args: ["strings", OF_EXTERNAL],
  plugin_checksum: ["string", OF_EXTERNAL],
};
