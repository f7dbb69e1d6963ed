/** The file that has a plugin's data (`plugin_data_file`): read at start, and again when the operator asks. */
import { createHash } from "node:crypto";
import { errorText } from "#spiffe/status-error.ts";
import { Block, type Problems } from "./block.ts";
import { parseHcl } from "./hcl.ts";
import { readText } from "./settings.ts";

export interface DataFile {
  /** Of the plugin: `KeyManager`. */
  readonly kind: string;
  readonly name: string;
  readonly path: string;
  /** Of its content when it was read: another one means other content. */
  readonly hash: string;
}

/** @throws Error when it cannot be read, or ConfigError when it is no HCL */
export function openDataFile(
  { kind, name, path }: Omit<DataFile, "hash">,
  problems: Problems,
): { readonly file: DataFile; readonly data: Block } {
  const text = readData(path);
  const called = `the plugin_data of ${kind} ${JSON.stringify(name)}`;
  return {
    file: { kind, name, path, hash: hashOf(text) },
    data: new Block([parseHcl(text, path)], called, problems),
  };
}

/** In the reference's words, which scripts look for. @throws Error */
function readData(path: string): string {
  try {
    return readText(path);
  } catch (error) {
    const said = errorText(error);
    const [, why = said] = /^E[A-Z]+: (.+), \w+(?: '|$)/.exec(said) ?? [];
    throw new Error(`failed to read plugin configuration: open ${path}: ${why}`, { cause: error });
  }
}

/** The hash that log lines show, as the reference's do. */
export function hashOf(text: string): string {
  return createHash("sha512").update(text).digest().subarray(0, 16).toString("hex");
}
