/** What is wrong with a configuration, one line a problem, ready to print. */
export class ConfigError extends Error {
  override readonly name: string = "ConfigError";

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
  }
}
