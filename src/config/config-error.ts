import { withoutJoinWords } from "#spiffe/secret-text.ts";

/** What is wrong with a configuration, one line a problem, ready to print. Values are quoted in it, but for those that are secret. */
export class ConfigError extends Error {
  override readonly name: string = "ConfigError";

  constructor(problems: readonly string[], cause?: unknown) {
    super(withoutJoinWords(problems.join("\n")), cause === undefined ? undefined : { cause });
  }
}
