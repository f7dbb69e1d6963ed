/** Opens what a configuration names, by the table of what is built in; from then on a plugin follows its configuration. */
import type { Log } from "#log/log.ts";
import {
  builtInPlugin,
  type ConfigOf,
  type OpenedOf,
  type PartsOf,
  type PluginKind,
} from "./plugin.ts";
import type { Reconfigurer } from "./reconfigurer.ts";

interface CommonParts {
  readonly log: Log;
  readonly reconfigurer: Reconfigurer;
}

/** @throws Error when the plugin cannot work by that configuration */
export async function openPlugin<Kind extends PluginKind>(
  kind: Kind,
  config: ConfigOf<Kind>,
  parts: PartsOf<Kind> & CommonParts,
): Promise<OpenedOf<Kind>> {
  const plugin = builtInPlugin(kind, config);
  const { reconfigure } = plugin;
  const { log, reconfigurer } = parts;
  // Both have the form that this very plugin asks for, which the compiler cannot see: the one was made by its `read`.
  const opened = await plugin.open(config as never, parts as never);
  if (reconfigure !== "at start") {
    reconfigurer.add(kind.kind, config, plugin.read, (next) =>
      reconfigure(opened as never, next as never),
    );
  } else if (config.dataFile !== undefined) {
    log.warn(`${kind.kind} is not reconfigurable even with a dynamic data source`, {
      path: config.dataFile.path,
    });
  }
  return opened as OpenedOf<Kind>;
}
