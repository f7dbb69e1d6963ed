/**
 * The file that `spire-agent svid-files` is configured by, as one checked value. An output is a directory with the files of one SVID; the
 * keys are those of SPIFFE Helper where it has them, and a file of its kind, with them at the top, is one output.
 */
import { constants } from "node:os";
import { resolve } from "node:path";
import { Block, Problems } from "#config/block.ts";
import { AGENT_SOCKET, unnamedSocket } from "#config/packaged.ts";
import { type LogConfig, readConfigFile, readLogConfig } from "#config/settings.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  refuse,
  takeNeedless,
} from "#config/unsupported-settings.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { type FilesConfig, isKeyOpen, readFiles } from "./config-files.ts";

/** Which of the SVIDs that this process gets; the first one where nothing is said. */
export interface Choice {
  readonly spiffeId?: string;
  readonly hint?: string;
}

/** What is done once files were replaced. */
export interface Renewal {
  /** Units that systemd reloads. */
  readonly reloadUnits: readonly string[];
  /** What `pidFile` and the main processes of `signalUnits` are sent. */
  readonly signal?: number;
  readonly pidFile?: string;
  readonly signalUnits: readonly string[];
  /** A program and its arguments; empty for none. */
  readonly command: readonly string[];
}

export interface OutputConfig {
  /** Its label, or the directory; for the log. */
  readonly name: string;
  readonly directory: string;
  readonly user?: string;
  readonly group?: string;
  readonly choice: Choice;
  readonly files: FilesConfig;
  readonly renewal: Renewal;
}

export interface SvidFilesConfig {
  readonly socketPath: string;
  /** Where nobody named the socket: the user who may listen there, beside root and this one. */
  readonly socketOwner?: string;
  /** Otherwise it ends once everything has been written. */
  readonly isDaemon: boolean;
  readonly log: LogConfig;
  readonly outputs: readonly OutputConfig[];
  /** To be logged at start. */
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
}

const DEFAULT_SOCKET = "/tmp/spire-agent/public/api.sock";

const REFUSED: RefusedKeys = {
  cmd: "this program starts no other; run that one as a unit of its own and name it in reload_units",
  cmd_args: "this program starts no other; run that one as a unit of its own",
  health_checks: "systemd is told by READY and STATUS; remove the block",
};

const NEEDLESS: NeedlessKeys = {
  omit_expired: ["boolean", "the agent hands out no authority that has expired"],
};

/** @throws ConfigError with every problem found, a line each */
export function loadSvidFilesConfig(path: string, expandEnv: boolean): SvidFilesConfig {
  const problems = new Problems(path);
  const root = new Block([readConfigFile(path, expandEnv)], "the file", problems);
  const address = root.string("agent_address") || process.env["SPIFFE_ENDPOINT_SOCKET"] || "";
  const log = readLogConfig(root, {}, problems);
  const isDaemon = root.boolean("daemon_mode") ?? true;
  refuse(root, REFUSED, problems);
  takeNeedless(root, NEEDLESS, problems);
  const outputs = readOutputs(root, problems);
  root.finish();
  problems.check();
  const warnings = outputs
    .filter(({ files }) => isKeyOpen(files))
    .map(
      ({ name }) =>
        `output ${name}: key_file_mode lets every user of this machine read the private key`,
    );
  const socketPath = resolve(
    address.replace(/^unix:(\/\/)?/, "") || unnamedSocket(DEFAULT_SOCKET, AGENT_SOCKET),
  );
  const owner = address === "" ? { socketOwner: AGENT_SOCKET.user } : {};
  return { socketPath, ...owner, isDaemon, log, outputs, warnings, notes: problems.notes };
}

function readOutputs(root: Block, problems: Problems): OutputConfig[] {
  const labelled = root.labelled("output");
  if (labelled.length === 0) return [readOutput(root, undefined, problems)];
  const outputs = labelled.map(({ label, block }) => {
    const output = readOutput(block, label, problems);
    block.finish();
    return output;
  });
  const directories = new Set(outputs.map(({ directory }) => directory));
  if (directories.size < outputs.length) problems.add("two outputs have the same cert_dir");
  return outputs;
}

function readOutput(block: Block, label: string | undefined, problems: Problems): OutputConfig {
  const directory = block.string("cert_dir") ?? "";
  if (directory === "") {
    const where = label === undefined ? "" : ` of output ${JSON.stringify(label)}`;
    problems.add(`cert_dir${where} must be configured`, block.line);
  }
  return {
    name: label ?? directory,
    directory: resolve(directory),
    ...optional(block, "user"),
    ...optional(block, "group"),
    choice: readChoice(block),
    files: readFiles(block, problems),
    renewal: readRenewal(block, problems),
  };
}

function optional<K extends string>(block: Block, key: K): { readonly [P in K]?: string } {
  const value = block.string(key) ?? "";
  return value === "" ? {} : ({ [key]: value } as { readonly [P in K]?: string });
}

function readChoice(block: Block): Choice {
  const id = block.string("spiffe_id") ?? "";
  const read = (): string => SpiffeId.parse(id).toString();
  const spiffeId = id === "" ? undefined : block.convert("spiffe_id", "spiffe_id", read);
  return { ...(spiffeId === undefined ? {} : { spiffeId }), ...optional(block, "hint") };
}

function readRenewal(block: Block, problems: Problems): Renewal {
  const pidFile = block.string("pid_file_name") ?? "";
  const signalUnits = block.strings("signal_units");
  const name = block.string("renew_signal") ?? "";
  const signal = Object.entries(constants.signals).find(([one]) => one === name)?.[1];
  if (name !== "" && signal === undefined) {
    problems.add(
      `renew_signal ${JSON.stringify(name)} is no signal, such as SIGHUP`,
      block.lineOf("renew_signal"),
    );
  }
  if ((pidFile === "" && signalUnits.length === 0) !== (name === "")) {
    problems.add(
      "renew_signal goes with pid_file_name or signal_units, and they with it",
      block.line,
    );
  }
  const command = block.strings("renew_command");
  if (command.length > 0 && !command[0]?.startsWith("/")) {
    problems.add(
      "renew_command must begin with the absolute path of a program",
      block.lineOf("renew_command"),
    );
  }
  return {
    reloadUnits: block.strings("reload_units"),
    ...(signal === undefined ? {} : { signal }),
    ...(pidFile === "" ? {} : { pidFile }),
    signalUnits,
    command,
  };
}
