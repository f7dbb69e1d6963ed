/** The plugins block, the same in both files: kind, name, `plugin_data`. */
import type { Block, Problems } from "./block.ts";

export interface Plugin {
  readonly name: string;
  readonly block: Block;
  readonly data: Block;
}

/** The enabled plugins of a kind; what is not built in is reported by name. */
export function pluginsOf(
  plugins: Block,
  kind: string,
  builtIn: readonly string[],
  problems: Problems,
): readonly Plugin[] {
  const seen = new Set<string>();
  return plugins.labelled(kind).flatMap(({ label: name, block }) => {
    if (block.boolean("enabled") === false) return [];
    if (seen.has(name))
      problems.add(`plugin "${kind}"/"${name}" declared more than once`, block.line);
    seen.add(name);
    const problem = pluginProblem(kind, name, block, builtIn);
    if (problem !== undefined) {
      problems.add(problem, block.line);
      return [];
    }
    return [{ name, block, data: block.block("plugin_data") ?? plugins.none() }];
  });
}

function pluginProblem(
  kind: string,
  name: string,
  block: Block,
  builtIn: readonly string[],
): string | undefined {
  const quoted = JSON.stringify(name);
  const external = ["plugin_cmd", "plugin_checksum", "plugin_args"].filter((key) => block.has(key));
  if (external.length > 0) {
    return `${external[0]} of ${kind} ${quoted}: external plugins are not supported; remove the plugin`;
  }
  if (!builtIn.includes(name)) {
    const known =
      builtIn.length === 0 ? "there are none of this kind" : `built in: ${builtIn.join(", ")}`;
    return `failed to load plugin ${quoted}: no built-in plugin ${quoted} for type "${kind}" (${known})`;
  }
  return block.has("plugin_data_file")
    ? `plugin_data_file of ${kind} ${quoted} is not supported; write the keys into plugin_data`
    : undefined;
}

/** Reports a kind that must be there once and is not. */
export function exactlyOne(
  found: readonly Plugin[],
  kind: string,
  problems: Problems,
): Plugin | undefined {
  if (found.length !== 1) {
    problems.add(`${kind}: constraint not satisfied: expected exactly 1 but got ${found.length}`);
  }
  return found[0];
}
