/** What both configuration files have in common: how they are read, the trust domain, the log. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { obeyed } from "#files/obeyed.ts";
import { type LogFormat, type LogLevel, parseLogLevel } from "#log/log.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Block, Problems } from "./block.ts";
import { ConfigError } from "./config-error.ts";
import { expandEnv } from "./expand-env.ts";
import { parseHcl } from "./hcl.ts";
import { isThere, SERVER_CONFIG } from "./packaged.ts";
import type { ObjectValue } from "./tree.ts";
import { type NeedlessKeys, takeNeedless } from "./unsupported-settings.ts";

/**
 * Reads and parses a file.
 *
 * @param expand whether `$NAME` stands for the environment's value
 * @param packaged the packages' own file, to be named where it is there and this one is not
 * @throws ConfigError
 */
export function readConfigFile(
  path: string,
  expand: boolean | undefined,
  packaged?: string,
): ObjectValue {
  let text: string;
  try {
    text = readText(path);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const hint =
      packaged !== undefined && isThere(packaged) ? ` (the packages' file is ${packaged})` : "";
    throw new ConfigError([
      missing
        ? `could not find config file ${resolve(path)}: please use the -config flag${hint}`
        : `could not read config file ${resolve(path)}: ${errorText(error)}`,
    ]);
  }
  return parseHcl(expand ? expandEnv(text, process.env) : text, path);
}

/** @throws Error when there is no such file, somebody else could change it, or it is not UTF-8 */
export function readText(path: string): string {
  const bytes = readFileSync(obeyed(path));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("it is not text in UTF-8");
  }
}

/** The value of a flag if it was given, or of the key; empty when neither was. */
export function flagOrKey(block: Block, flag: string | undefined, key: string): string {
  const value = block.string(key);
  return flag ?? value ?? "";
}

/** The path of a file that is read; a key may name a credential. */
export function pathFlagOrKey(block: Block, flag: string | undefined, key: string): string {
  const path = block.path(key);
  return flag ?? path ?? "";
}

/** The file of the packages names none: nobody shall live with a name that nobody chose. */
const PACKAGED_ADVICE = `: write trust_domain = "example.org", with the name of yours, into the server block of ${SERVER_CONFIG}`;

/** Reports a trust domain that is missing or wrong; what it then returns is never used. */
export function readTrustDomain(
  block: Block,
  flag: string | undefined,
  problems: Problems,
): TrustDomain {
  const text = flagOrKey(block, flag, "trust_domain");
  try {
    if (text !== "") return TrustDomain.parse(text);
    problems.add(`trust_domain must be configured${problems.isPackaged ? PACKAGED_ADVICE : ""}`);
  } catch (error) {
    const line = flag === undefined ? block.lineOf("trust_domain") : undefined;
    problems.add(
      `could not parse trust_domain ${JSON.stringify(text)}: ${problemText(error)}`,
      line,
    );
  }
  return TrustDomain.parse("invalid");
}

export interface LogConfig {
  /** Absent for standard output. */
  readonly file?: string;
  readonly level: LogLevel;
  readonly format: LogFormat;
}

const LOG_NEEDLESS: NeedlessKeys = {
  log_source_location: [
    "boolean",
    "log lines tell by subsystem_name what part wrote them; an executable has no source files",
  ],
};

/** Reads where and how to log. */
export function readLogConfig(
  block: Block,
  flags: { readonly logFile?: string; readonly logLevel?: string; readonly logFormat?: string },
  problems: Problems,
): LogConfig {
  const file = flagOrKey(block, flags.logFile, "log_file");
  const levelText = flagOrKey(block, flags.logLevel, "log_level") || "INFO";
  const format = (flagOrKey(block, flags.logFormat, "log_format") || "text").toLowerCase();
  takeNeedless(block, LOG_NEEDLESS, problems);
  const level = parseLogLevel(levelText);
  if (level === undefined) {
    problems.add(
      `log_level ${JSON.stringify(levelText)} is not one of error, warn, info, debug`,
      block.lineOf("log_level"),
    );
  }
  if (format !== "text" && format !== "json") {
    problems.add(
      `unknown logger format: ${JSON.stringify(format)}; use text or json`,
      block.lineOf("log_format"),
    );
  }
  return {
    ...(file === "" ? {} : { file }),
    level: level ?? "info",
    format: format === "json" ? "json" : "text",
  };
}
