/**
 * Reads the files of plugins' data (`plugin_data_file`) again when the operator asks (SIGUSR1), and gives each plugin whose file has changed
 * its new configuration. A file that is wrong changes nothing. Log lines as in the reference.
 */
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { type Block, Problems } from "./block.ts";
import { type DataFile, hashOf, openDataFile } from "./data-file.ts";
import type { Sourced } from "./plugins.ts";
import { readText } from "./settings.ts";

/** For plugins without any key: what stands in their file is then reported as unknown. */
export function readNothing(): void {}

interface Plugin {
  file: DataFile;
  readonly log: Log;
  /** @throws Error when the data is wrong, or the plugin cannot use it */
  readonly configure: (data: Block, problems: Problems) => Promise<void>;
}

export class Reconfigurer {
  readonly #log: Log;
  readonly #plugins: Plugin[] = [];
  /** One round at a time: two would overtake each other. */
  #last: Promise<void> = Promise.resolve();

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * From now on the plugin follows its file; nothing happens when it has none.
   *
   * @param read its data as a configuration, problems collected
   * @param configure takes the new configuration; what it throws leaves the plugin as it was
   */
  add<Config>(
    { dataFile: file }: Sourced,
    read: (data: Block, problems: Problems) => Config,
    configure: (config: Config) => Promise<void> | void = () => {},
  ): void {
    if (file === undefined) return;
    const log = this.#log.with({
      subsystem_name: "catalog",
      plugin_name: file.name,
      plugin_type: file.kind,
      external: false,
    });
    log.info("Configured plugin", { reconfigurable: true, hash: file.hash });
    this.#plugins.push({
      file,
      log,
      configure: async (data, problems) => {
        const config = read(data, problems);
        data.finish();
        problems.check();
        await configure(config);
      },
    });
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

async function reconfigure(plugin: Plugin): Promise<void> {
  const { file, log } = plugin;
  try {
    if (currentHash(file) === file.hash) {
      log.info("Plugin not reconfigured since the config is unchanged", { hash: file.hash });
      return;
    }
    const problems = new Problems(file.path);
    const opened = openDataFile(file, problems);
    await plugin.configure(opened.data, problems);
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
