/**
 * Gives plugins that run their new configuration when the operator asks: the files of their data (`plugin_data_file`) are read again
 * (SIGUSR1), or the whole configuration was (SIGHUP). What is wrong, or of no use to the plugin, changes nothing. Log lines as in the reference.
 */
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { type Block, Problems } from "./block.ts";
import { type DataFile, hashOf, openDataFile } from "./data-file.ts";
import type { AnyPlugin, Named, Place, Sourced } from "./plugin.ts";
import { readText } from "./settings.ts";

interface Running {
  readonly kind: string;
  /** What the plugin was given last of a configuration as a whole. */
  config: Sourced & Named;
  file: DataFile | undefined;
  readonly log: Log;
  /** @throws Error when the data is wrong, or the plugin cannot use it */
  readonly configureFrom: (data: Block, problems: Problems) => Promise<void>;
  /** @throws Error when the plugin cannot use it */
  readonly configure: (config: Named) => Promise<void>;
}

export class Reconfigurer {
  readonly #log: Log;
  readonly #place: Place;
  readonly #plugins: Running[] = [];
  /** One round at a time: two would overtake each other. */
  #last: Promise<void> = Promise.resolve();

  constructor(log: Log, place: Place) {
    this.#log = log;
    this.#place = place;
  }

  /**
   * From now on the plugin follows its file, if it has one, and the configuration as a whole.
   *
   * @param kind such as `KeyManager`
   * @param read its data as a configuration, problems collected
   * @param configure takes the new configuration; what it throws leaves the plugin as it was
   */
  add(
    kind: string,
    config: Sourced & Named,
    read: AnyPlugin["read"],
    configure: (config: Named) => Promise<void> | void,
  ): void {
    const { name, dataFile: file } = config;
    const log = this.#log.with({
      subsystem_name: "catalog",
      plugin_name: name,
      plugin_type: kind,
      external: false,
    });
    if (file !== undefined) {
      log.info("Configured plugin", { reconfigurable: true, hash: file.hash });
    }
    this.#plugins.push({
      kind,
      config,
      file,
      log,
      configureFrom: async (data, problems) => {
        const given = read(data, problems, this.#place);
        data.finish();
        problems.check();
        await configure(given);
      },
      configure: async (next) => configure(next),
    });
  }

  /** Gives each plugin the configuration that is its own by now. Resolves when all have it or refused it; never rejects. */
  follow(plugins: ReadonlyMap<string, readonly (Sourced & Named)[]>): Promise<void> {
    this.#last = this.#last.then(async () => {
      for (const plugin of this.#plugins) {
        const next = plugins.get(plugin.kind)?.find(({ name }) => name === plugin.config.name);
        if (next !== undefined && next !== plugin.config) await follow(plugin, next);
      }
    });
    return this.#last;
  }

  /** Resolves when all plugins were looked at; never rejects. */
  reconfigure(): Promise<void> {
    this.#last = this.#last.then(async () => {
      this.#log.info("Reconfigure signal received", { subsystem_name: "reconfigurer" });
      for (const plugin of this.#plugins) await reconfigure(plugin);
    });
    return this.#last;
  }
}

async function follow(plugin: Running, next: Sourced & Named): Promise<void> {
  const { log } = plugin;
  try {
    await plugin.configure(next);
    plugin.config = next;
    plugin.file = next.dataFile;
    log.info("Plugin reconfigured");
  } catch (error) {
    log.error("Failed to reconfigure plugin", { error: errorText(error) });
  }
}

async function reconfigure(plugin: Running): Promise<void> {
  const { file, log } = plugin;
  if (file === undefined) return;
  try {
    if (currentHash(file) === file.hash) {
      log.info("Plugin not reconfigured since the config is unchanged", { hash: file.hash });
      return;
    }
    const problems = new Problems(file.path);
    const opened = openDataFile(file, problems);
    await plugin.configureFrom(opened.data, problems);
    plugin.file = opened.file;
    log.info("Plugin reconfigured", { old_hash: file.hash, new_hash: opened.file.hash });
  } catch (error) {
    log.error("Failed to reconfigure plugin", { error: errorText(error) });
  }
}

function currentHash({ path }: DataFile): string {
  try {
    return hashOf(readText(path));
  } catch (error) {
    throw new Error(`failed to load plugin data: ${errorText(error)}`);
  }
}
