/**
 * SVIDs as files, for programs that know no SPIFFE: a client of the Workload API like any other, which writes what it gets and tells whoever
 * uses it. Called by `spire-agent svid-files`; knows nothing of the agent but its socket.
 */

import { Systemd } from "#dbus/systemd.ts";
import type { StatusSource } from "#notify/status-line.ts";
import { isoTime } from "#x509/iso-time.ts";
import type { SvidFilesConfig } from "./config.ts";
import { wantsJwtBundles } from "./config-files.ts";
import { Output, type OutputTools } from "./output.ts";
import { WorkloadSource } from "./workload-source.ts";

export type SvidFilesTools = Omit<OutputTools, "systemd">;

export interface RunningSvidFiles {
  /** Resolves once it has stopped: when told to, or when all is written and it is no daemon. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
  /** Does nothing: the configuration is read at the start. */
  reconfigure(): Promise<void>;
  readonly status: StatusSource;
}

/**
 * Starts to write, and waits until all outputs are written.
 *
 * @param told called with one line whenever things stand otherwise, until all outputs are written
 * @throws Error with a message for the operator when an output cannot be written ever
 */
export async function runSvidFiles(
  config: SvidFilesConfig,
  given: SvidFilesTools,
  told: (status: string) => void,
): Promise<RunningSvidFiles> {
  const tools = { ...given, systemd: new Systemd(given.clock, process.env) };
  const source = new WorkloadSource(config, tools, () => {
    for (const output of outputs) output.wake();
    tell();
  });
  const outputs = await Promise.all(config.outputs.map((one) => Output.open(one, source, tools)));
  let last = "";
  const tellAtStart = (): void => {
    const status = statusOf(outputs, source.problem);
    if (status !== last) told(status);
    last = status;
  };
  let changed = tellAtStart;
  const tell = (): void => changed();
  const stopping = new AbortController();
  source.start(config.outputs.some(({ files }) => wantsJwtBundles(files)));
  const work = Promise.all(outputs.map((output) => output.run(tell, stopping.signal)));
  await Promise.race([Promise.all(outputs.map(({ written }) => written)), work]);
  const stop = async (): Promise<void> => {
    stopping.abort();
    source.stop();
    tools.systemd.close();
    await work;
  };
  const stopped = config.isDaemon ? work.then(() => {}) : stop();
  return {
    stopped,
    stop,
    reconfigure: () => Promise.resolve(),
    status: {
      text: async () => statusOf(outputs, source.problem),
      onChange: (listener) => {
        changed = listener;
        return () => {
          changed = () => {};
        };
      },
    },
  };
}

function statusOf(outputs: readonly Output[], problem: string): string {
  const waiting = outputs.filter(({ svid }) => svid === undefined);
  const why = problem === "" ? "" : `; the agent: ${problem}`;
  if (waiting.length > 0) {
    return `Waiting for the SVID of ${waiting.map(({ name }) => name).join(", ")}${why}`;
  }
  const ends = outputs.map(({ svid }) => svid?.certificates[0]?.notAfter ?? 0);
  const next = isoTime(Math.min(...ends));
  const count = outputs.length === 1 ? "1 output" : `${outputs.length} outputs`;
  return `${count} written; the next SVID expires ${next}${why}`;
}
